package cluster

import (
	"bytes"
	"context"
	"log/slog"
)

// logWriter hands the lines of memberlist's log to slog: what is wrong as warnings, all else for debugging.
type logWriter struct{ log *slog.Logger }

// Write takes one line, "[LEVEL] memberlist: text".
func (w logWriter) Write(line []byte) (int, error) {
	level, text := slog.LevelDebug, bytes.TrimSpace(line)
	for _, bad := range []string{"[WARN]", "[ERR]", "[ERROR]"} {
		if bytes.HasPrefix(text, []byte(bad)) {
			level = slog.LevelWarn
		}
	}
	if i := bytes.IndexByte(text, ']'); i >= 0 && text[0] == '[' {
		text = bytes.TrimSpace(text[i+1:])
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	w.log.Log(context.Background(), level, "gossip", "text", string(text))
	return len(line), nil
}
