package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"
)

// maxLine bounds a line; the rest of a longer one comes as lines of its own.
const maxLine = 64 << 10

// tail yields the lines that are written to a file from now on, until ctx ends or there is an error. A file that is not there yet is read from
// its start, and so is one that was cut short, or that has taken the other one's place.
func tail(ctx context.Context, name string, every time.Duration) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		whence, said := io.SeekEnd, false
		for {
			f, err := os.Open(name)
			if err != nil && !said {
				said = true
				fmt.Println("waiting for", name)
			}
			switch {
			case err == nil:
				more, err := lines(ctx, f, whence, every, yield)
				_ = f.Close()
				said = false
				if err != nil {
					yield("", err)
				}
				if !more {
					return
				}
			case !errors.Is(err, fs.ErrNotExist):
				yield("", err)
				return
			case !pause(ctx, every):
				return
			}
			whence = io.SeekStart
		}
	}
}

// lines yields the lines of one file, and reports whether another one has to be opened.
func lines(ctx context.Context, f *os.File, whence int, every time.Duration, yield func(string, error) bool) (more bool, err error) {
	if _, err := f.Seek(0, whence); err != nil {
		return false, err
	}
	fmt.Println("following", f.Name())
	r := bufio.NewReaderSize(f, maxLine)
	var begun strings.Builder // a line whose end is not there yet
	for {
		part, err := r.ReadSlice('\n')
		begun.Write(part)
		if err == nil || begun.Len() >= maxLine {
			if !yield(strings.TrimRight(begun.String(), "\r\n"), nil) {
				return false, nil
			}
			begun.Reset()
			continue
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return false, err
		}
		if replaced(f) {
			return true, nil
		}
		if !pause(ctx, every) {
			return false, nil
		}
	}
}

// replaced reports whether the file was cut short, or another one has its name.
func replaced(f *os.File) bool {
	here, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return false
	}
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(f.Name())
	return err == nil && (!os.SameFile(mine, there) || mine.Size() < here)
}

// pause reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
