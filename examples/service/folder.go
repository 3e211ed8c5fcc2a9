package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	pb "github.com/greenroom-go/greenroom/examples/service/servicev1"
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

// feed ingests every plain file below root but the hidden ones, and prints how many they were. What is neither plain nor
// hidden it logs and passes over. When ctx is done it starts
// on no more files; work bounds those that it has started on.
func (s *service) feed(ctx, work context.Context, root string, log *slog.Logger) {
	paths := make(chan string)
	var counted, failed atomic.Uint64
	var feeders sync.WaitGroup
	for range 2 * len(s.desks) {
		feeders.Go(func() {
			for path := range paths {
				_, err := s.ingest(work, &pb.IngestMessage{Source: &pb.IngestMessage_File{File: &pb.File{Path: path}}})
				if err != nil {
					failed.Add(1)
					log.Warn("file not counted", "path", path, "why", err.Error())
					continue
				}
				counted.Add(1)
			}
		})
	}
	s.walk(ctx, root, paths, log)
	close(paths)
	feeders.Wait()
	state := "done"
	if ctx.Err() != nil {
		state = "interrupted"
	}
	fmt.Fprintf(s.out, "folder %s %s: %d files counted, %d not\n", root, state, counted.Load(), failed.Load())
}

func (s *service) walk(ctx context.Context, root string, paths chan<- string, log *slog.Logger) {
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return fs.SkipAll
		case err != nil:
			log.Warn("not readable, passed over", "path", path, "why", err.Error())
			return nil
		case path != root && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		case !entry.Type().IsRegular():
			log.Warn("not a plain file, passed over", "path", path, "kind", kindOf(entry.Type()))
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
