package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// openFolder returns where the folder really is, or why it cannot be read.
func openFolder(path string) (string, error) {
	root, err := filepath.EvalSymlinks(path)
	if err == nil {
		_, err = os.ReadDir(root)
	}
	if err != nil {
		if part, ok := errors.AsType[*fs.PathError](err); ok {
			err = part.Err // its path is that of the first folder above that is missing
		}
		return "", fmt.Errorf("-dir %s cannot be read: %w", path, err)
	}
	return root, nil
}

// feed is the child that ingests every plain file below -dir but the hidden ones, and prints how many they were. What is neither
// plain nor hidden it logs and passes over. When no more documents are taken it starts on no more files, and waits for those that it has
// started on.
func (s *service) feed(ctx context.Context) error {
	root := s.opts.dir
	paths := make(chan string)
	var counted, failed, unsure atomic.Uint64
	var feeders sync.WaitGroup
	for range 2 * s.opts.workers {
		feeders.Go(func() {
			for path := range paths {
				switch err := s.ingestFile(path); {
				case err == nil:
					counted.Add(1)
				case errors.Is(err, errEnding):
					unsure.Add(1)
				default:
					failed.Add(1)
					s.log.Warn("file not counted", "path", path, "why", explain(path, err).Error())
				}
			}
		})
	}
	s.walk(s.taking, root, paths)
	close(paths)
	feeders.Wait()
	state := "done"
	if s.taking.Err() != nil || ctx.Err() != nil {
		state = "interrupted"
	}
	fmt.Fprintf(s.out, "folder %s %s: %d files counted, %d not", root, state, counted.Load(), failed.Load())
	if n := unsure.Load(); n > 0 {
		fmt.Fprintf(s.out, ", %d given up, which may be in the totals", n)
	}
	fmt.Fprintln(s.out)
	return nil
}

func (s *service) ingestFile(path string) error {
	text, err := readFile(path, s.opts.maxBytes)
	if err != nil {
		s.refused.Add(1)
		return err
	}
	_, err = s.ingest(path, text)
	return err
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", refusedError(err.Error())
	}
	defer func() { _ = f.Close() }() // only read from
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return "", refusedError(err.Error())
	case n > limit:
		return "", refusedError(fmt.Sprintf("the file is larger than %d bytes: raise -max-bytes", limit))
	}
	return text.String(), nil
}

func (s *service) walk(ctx context.Context, root string, paths chan<- string) {
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return fs.SkipAll
		case err != nil:
			s.log.Warn("not readable, passed over", "path", path, "why", err.Error())
			return nil
		case path != root && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			s.log.Warn("not a plain file, passed over", "path", path, "kind", kindOf(entry.Type()))
			return nil
		}
		select {
		case paths <- path:
		case <-ctx.Done():
		}
		return nil
	})
}

// kindOf names what is neither a plain file nor a folder.
func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "irregular file"
}
