package tcplink

import (
	"bytes"
	"errors"
	"testing"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// FuzzFrame holds that whatever comes gives a frame or an error, and that a frame's bytes are those it was read from.
func FuzzFrame(f *testing.F) {
	f.Add(frame{frameWelcome, nil}.bytes())
	f.Add(frame{frameReset, id(7)}.bytes())
	f.Add(frame{frameClose, closeBody(1, "enough")}.bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFrame(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again := got.bytes(); !bytes.HasPrefix(b, again) {
			t.Errorf("%x was read from %x", again, b)
		}
		if got.kind == frameClose && closeError(got.body) == nil {
			t.Errorf("%x closes for no reason", b)
		}
	})
}

func TestCloseBody(t *testing.T) {
	err := closeError(closeBody(1<<40, "a reason"))
	if e, ok := errors.AsType[*link.CloseError](err); !ok || e.Code != 1<<40 || e.Text != "a reason" {
		t.Errorf("read %v", err)
	}
	if err := closeError([]byte{1}); !errors.Is(err, errFrame) {
		t.Errorf("a short body: %v", err)
	}
}

func TestHello(t *testing.T) {
	want := hello{helloStream, [16]byte{1, 2, 15: 3}, 1 << 50}
	var b bytes.Buffer
	if err := want.send(&b); err != nil || b.Len() != helloSize {
		t.Fatalf("%d bytes, %v", b.Len(), err)
	}
	if got, err := readHello(&b); err != nil || got != want {
		t.Errorf("read %v, %v", got, err)
	}
}
