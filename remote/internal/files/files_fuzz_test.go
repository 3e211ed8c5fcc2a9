package files_test

import (
	"bytes"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/files"
)

// script is a stream whose other side says what is in it, whatever it hears.
type script struct {
	io.Reader
	heard bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) { return s.heard.Write(b) }

func (s *script) Close() error { return nil }

// frames are what is said by that.
func frames(f *testing.F, say func(l files.Line) error) []byte {
	f.Helper()
	s := &script{}
	if err := say(files.NewLine(s)); err != nil {
		f.Fatal(err)
	}
	return s.heard.Bytes()
}

func said[M proto.Message](f *testing.F, messages ...M) []byte {
	f.Helper()
	return frames(f, func(l files.Line) error {
		for _, m := range messages {
			if err := l.Write(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// again reads frames of messages from b, and holds that what was read is what comes out when it is written and read again.
func again[M proto.Message](t *testing.T, b []byte, empty func() M) {
	t.Helper()
	l := files.NewLine(&script{Reader: bytes.NewReader(b)})
	for {
		m := empty()
		if l.Read(m) != nil {
			return
		}
		s := &script{}
		if err := files.NewLine(s).Write(m); err != nil {
			t.Fatal(err)
		}
		s.Reader = bytes.NewReader(s.heard.Bytes())
		back := empty()
		if err := files.NewLine(s).Read(back); err != nil || !proto.Equal(m, back) {
			t.Fatalf("%v became %v, %v", m, back, err)
		}
	}
}

// FuzzRequest has a Server hear any bytes. It stores no file but under its checksum, and in bounds.
func FuzzRequest(f *testing.F) {
	content := noise(100)
	f.Add(frames(f, func(l files.Line) error {
		l.Write(askPut("a/f", content)) //nolint:errcheck // a buffer takes it
		l.Write(startAt(0))             //nolint:errcheck // as above
		l.Content(content)              //nolint:errcheck // as above
		return l.Write(atEnd())
	}))
	f.Add(said(f, askPut("f", nil), startAt(0), atEnd()))
	f.Add(said(f, askPut("../f", content), startAt(0)))
	f.Add(said(f, askDelete("a/f")))
	f.Add(said(f, askStat("a")))
	abandon := &greenroomv1.FileRequest{Request: &greenroomv1.FileRequest_Abandon{Abandon: &greenroomv1.FileAbandon{}}}
	f.Add(said(f, askPut("f", content), startAt(0), abandon))
	const quota = 10000
	server, err := files.NewServer(files.Options{Root: f.TempDir(), MaxFileBytes: 1000, MaxTotalBytes: quota})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { server.Close() }) //nolint:errcheck // the process ends
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, func() *greenroomv1.FileRequest { return &greenroomv1.FileRequest{} })
		s := &script{Reader: bytes.NewReader(b)}
		server.Serve(t.Context(), s, "peer") //nolint:errcheck // mostly it is refused
		if used := server.Used(); used < 0 || used > quota || server.Claims() > 0 {
			t.Fatalf("%d bytes are used, %d claims", used, server.Claims())
		}
		l := files.NewLine(&script{Reader: bytes.NewReader(s.heard.Bytes())})
		for s.heard.Len() > 0 {
			if err := l.Read(&greenroomv1.FileResponse{}); err != nil {
				if files.IsEnd(err) {
					return
				}
				t.Fatalf("its answers cannot be read: %v", err)
			}
		}
	})
}

// FuzzResponse has senders hear any bytes.
func FuzzResponse(f *testing.F) {
	content := noise(200 << 10)
	failure := &greenroomv1.FileFailure{Code: greenroomv1.FileFailureCode_FILE_FAILURE_CODE_EXISTS, Text: "there"}
	have := func(size int) *greenroomv1.FileResponse {
		s := files.Sum(content[:size])
		m := &greenroomv1.FileHave{Size: int64(size), Sha256: s[:]}
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Have{Have: m}}
	}
	stored := func(already bool) *greenroomv1.FileResponse {
		m := &greenroomv1.FileStored{AlreadyThere: already}
		return &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Stored{Stored: m}}
	}
	info := &greenroomv1.FileInfo{Size: 5, Mode: 0o644, ModTimeUnixNano: 1}
	f.Add(said(f, have(0), stored(false)))
	f.Add(said(f, have(1000), stored(false)))
	f.Add(said(f, stored(true)))
	f.Add(said(f, &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Failure{Failure: failure}}))
	f.Add(said(f, &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Deleted{Deleted: &greenroomv1.FileDeleted{}}}))
	f.Add(said(f, &greenroomv1.FileResponse{Response: &greenroomv1.FileResponse_Info{Info: info}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		again(t, b, func() *greenroomv1.FileResponse { return &greenroomv1.FileResponse{} })
		stream := func() *script { return &script{Reader: bytes.NewReader(b)} }
		result, err := files.Put(t.Context(), stream(), from("f", content))
		if err == nil && !result.AlreadyThere && result.Sent+result.Resumed != int64(len(content)) {
			t.Fatalf("%+v", result)
		}
		files.Delete(t.Context(), stream(), "f") //nolint:errcheck // mostly it fails
		if info, err := files.Stat(t.Context(), stream(), "f", true); err == nil && info.Size < 0 {
			t.Fatalf("%+v", info)
		}
	})
}
