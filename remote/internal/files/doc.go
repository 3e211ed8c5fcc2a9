// Package files moves files between nodes. Each request has an ordered stream of bytes of its own, like a link.Stream.
//
//	you call                        what it does
//	NewServer(Options)              opens the directory that files of others go to, and may not leave
//	Server.Serve(ctx, stream, peer) carries out the one request on a stream that a peer has opened
//	Server.Close()                  ends what is served, and waits for it
//	Put(ctx, stream, PutOptions)    sends a file
//	Delete(ctx, stream, name)       deletes a file, and directories that are empty without it
//	Stat(ctx, stream, name, sum)    tells about a file
//
//	we call back                    when
//	PutOptions.Progress             while a file is sent
//	Options.Allow                   before a request is carried out
//
// A file is announced with its size and its SHA-256. If the receiver has it in that place, nothing is sent. If it has a part of it
// from an earlier attempt, it says how much, and the SHA-256 of that; the sender compares it with its own, and goes on from there. The
// content is written to a partial file, in the directory StagingDir of the root; when it is complete, has the right checksum and
// is on disk, it is renamed to its place. Nobody sees half a file there.
//
// An attempt that is cut short (the stream broke, a context ended, a peer stalled) leaves its partial file for the next, if it has 64 KiB
// at least. One that cannot go on does not: a wrong checksum, a file that changed while it was sent, and a full disk. On a full disk
// the part could only be completed after somebody has made room, and would keep others from writing until then.
//
// The stream is used up: both sides close it. Where contexts, stalls and refusals in the middle of a file have to interrupt a Read or
// Write that waits, they call the stream's Reset method, or Close if there is none, which then has to end both directions.
//
// # Bytes
//
// Each direction is a sequence of frames.
//
//	bytes  what
//	1      kind: 1 a message, 2 content
//	4      length of the rest, big-endian, at most 64 KiB; 0 only for a message
//	...    a FileRequest or FileResponse of greenroom/v1/files.proto, or bytes of the file
//
// The sender: a put; after the answer have, a start, frames of content, and an end or abandon. Or a delete, or a stat.
// The receiver: one answer; after a put and have, another one. A failure is an answer to anything, and the last one.
package files
