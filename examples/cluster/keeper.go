package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/greenroom-go/greenroom/actor"
	pb "github.com/greenroom-go/greenroom/examples/cluster/clusterv1"
)

// saveEvery is after how many documents a shard hands over its state. So many are counted again, at most, when it is lost.
const saveEvery = 256

// keeper implements KeeperService, at home: it has what its shard must not lose, and nobody else has it.
//
// Invariant: saved and journal together are all documents from 1 to last, in order. A document enters the journal before it is sent
// anywhere, and leaves it when a state with it is here.
type keeper struct {
	post *post
	note *shardNote

	last    uint64         // the number of the last document
	saved   *pb.State      // what a shard has handed over last
	journal []*pb.Document // the documents since

	at    actor.AnyRef // the shard that has been restored
	fresh bool         // it has confirmed no document yet
}

// Take implements pb.KeeperServer.
func (k *keeper) Take(ctx *actor.Context, req *pb.TakeRequest) (*pb.TakeResponse, error) {
	k.last++
	document := &pb.Document{Number: k.last, Text: req.GetText()}
	k.journal = append(k.journal, document)
	err := k.ask(ctx, func(s pb.ShardRef) error {
		_, err := s.Count(ctx, &pb.CountRequest{Document: document}) // a shard that was just restored has it, and passes over it
		return err
	})
	if err != nil {
		return nil, err
	}
	k.note.acknowledged(k.fresh)
	k.fresh = false
	if len(k.journal) >= saveEvery {
		if _, err := k.save(ctx); err != nil {
			return nil, err
		}
	}
	return &pb.TakeResponse{Number: document.Number}, nil
}

// Settle implements pb.KeeperServer.
func (k *keeper) Settle(ctx *actor.Context, _ *pb.SettleRequest) (*pb.SettleResponse, error) {
	state, err := k.save(ctx)
	return &pb.SettleResponse{State: state}, err
}

// save has the shard hand over its state, and forgets the documents that are in it.
func (k *keeper) save(ctx *actor.Context) (*pb.State, error) {
	err := k.ask(ctx, func(s pb.ShardRef) error {
		saved, err := s.Save(ctx, &pb.SaveRequest{})
		switch {
		case err != nil:
			return err
		case saved.GetState().GetThrough() != k.last:
			return fmt.Errorf("the shard has document %d and not document %d", saved.GetState().GetThrough(), k.last)
		}
		k.saved, k.journal = saved.GetState(), nil
		return nil
	})
	return k.saved, err
}

// maxLost is how many shards in a row may be lost over one question. More have the question to blame.
const maxLost = 20

// ask has f ask the shard. If that fails, whatever the reason, the shard is through: its supervisor starts another one, which is
// given all that the keeper has, and is asked the same again.
func (k *keeper) ask(ctx *actor.Context, f func(pb.ShardRef) error) error {
	var lost error
	for range maxLost {
		ref, err := k.post.await(ctx)
		if err != nil {
			return err
		}
		s := pb.ShardRef{Ref: actor.Ref[pb.ShardMessage]{AnyRef: ref}}
		if ref != k.at {
			err = k.restore(ctx, s)
		}
		if err == nil {
			err = f(s)
		}
		if err == nil || ctx.Err() != nil {
			return err
		}
		ctx.Log().Info("a shard is lost", "shard", k.note.name, "why", err.Error())
		lost = err
		k.post.leave(ref)
		ref.Kill() // if it is there, it is wrong
	}
	return fmt.Errorf("%d shards in a row were lost, the last one with: %w", maxLost, lost)
}

// restore has a new shard begin where the keeper is.
func (k *keeper) restore(ctx *actor.Context, s pb.ShardRef) error {
	k.fresh = true
	k.note.restoring(len(k.journal))
	if _, err := s.Restore(ctx, &pb.RestoreRequest{State: k.saved, Documents: k.journal}); err != nil {
		return err
	}
	k.at = s.AnyRef
	return nil
}

// post is which actor is the shard now: the supervisor says so, the keeper waits for it. The zero value is nobody.
type post struct {
	mu     sync.Mutex
	ref    actor.AnyRef
	manned actor.Event
}

// take puts an actor in the place of whoever was there.
func (p *post) take(ref actor.AnyRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ref = ref
	p.manned.Set()
}

// leave says that an actor is not the shard any more.
func (p *post) leave(ref actor.AnyRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ref == ref {
		p.ref = actor.AnyRef{}
		p.manned.Clear()
	}
}

// await waits until there is a shard.
func (p *post) await(ctx context.Context) (actor.AnyRef, error) {
	for {
		if err := p.manned.Wait(ctx); err != nil {
			return actor.AnyRef{}, err
		}
		p.mu.Lock()
		ref := p.ref
		p.mu.Unlock()
		if !ref.IsZero() {
			return ref, nil
		}
	}
}
