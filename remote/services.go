package remote

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/greenroom-go/greenroom/actor"
	greenroomv1 "github.com/greenroom-go/greenroom/proto/greenroom/v1"
	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// System services are actors of a node that have the same number on every node: whoever has a link can call them, if its roles allow
// that. Such a number has no generation, so that it is no other actor's.
const (
	answersTo       = 1 // stands for the receiver in the routes of answers, whose numbers say whose they are
	namesService    = 2 // who has a name
	spawnService    = 3 // RCI
	channelsService = 4 // channels
	swapService     = 5 // swaps by name
	serviceLimit    = 8
)

// roleFor is the role that a service asks for.
var roleFor = [serviceLimit]link.Roles{
	namesService: link.MaySend, spawnService: link.MaySpawn, channelsService: link.MaySend, swapService: link.MaySpawn,
}

// serveMessage gives m to a service that is no actor: ok is false if that service is one. Such a service runs where messages are read, so that it
// must be quick. back is where the answer to a call goes, nil for a message. An error says that m was not taken.
func (s *session) serveMessage(service uint64, back *incoming, m proto.Message) (ok bool, err error) {
	if service == namesService {
		return true, s.serveNames(back, m)
	}
	return false, nil
}

func isService(id uint64) bool { return id > answersTo && id < serviceLimit }

// routeTo is the way to actor id, or to the service of that number. Who has found out which actor a service is gets no further by that.
func (n *Node) routeTo(id uint64, t *typeIn) *routeIn {
	if isService(id) {
		return &routeIn{to: n.serve[id].ID(), t: t, service: id}
	}
	r := &routeIn{to: id, t: t, counts: 1}
	for number, ref := range n.serve {
		if id != 0 && ref.ID() == id {
			r.service = uint64(number)
		}
	}
	return r
}

// startServices starts the system services.
func (n *Node) startServices() error {
	return errors.Join(
		n.startRCI(),
		startService(n, channelsService, "channels", actor.Handler(n.channelService)),
	)
}

// stopServices ends them, so that the System may be made a node again.
func (n *Node) stopServices(ctx context.Context) {
	n.unpublishAll()
	for _, ref := range n.serve {
		if !ref.IsZero() {
			ref.Stop()
			_, _ = ref.Wait(ctx) // it ends soon
		}
	}
}

// startService starts the service of that number: before any link.
func startService[M proto.Message](n *Node, number uint64, name string, b actor.Behaviour[M]) error {
	ref, err := actor.Spawn(n.sys, b, actor.Options{Name: "greenroom." + name, System: true})
	n.serve[number] = ref.Any()
	return err
}

// service is the ref of one of a peer's system services.
func (far *incarnation) service(number uint64) actor.AnyRef {
	r, err := far.node.sys.RefAt(far.id, number)
	if err != nil {
		return actor.AnyRef{}
	}
	return r
}

// farOf is the incarnation of a peer that is up, nil if there is none.
func (n *Node) farOf(name string) *incarnation {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.peers[name]; p != nil && p.up {
		return p.now
	}
	return nil
}

// up lists the incarnations of the peers that are up.
func (n *Node) upFars() (list []*incarnation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.up {
			list = append(list, p.now)
		}
	}
	return list
}

// speaksForItself tells why a request to a service is not carried out that names another node than the one that it comes from.
func (s *session) speaksForItself(m proto.Message) error {
	q, ok := m.(*greenroomv1.ChannelRequest)
	if !ok {
		return nil
	}
	node := s.far.id
	switch w := q.GetWhat().(type) {
	case *greenroomv1.ChannelRequest_Attach:
		node = w.Attach.GetNode()
	case *greenroomv1.ChannelRequest_Count:
		node = w.Count.GetNode()
	case *greenroomv1.ChannelRequest_Detach:
		node = w.Detach.GetNode()
	case *greenroomv1.ChannelRequest_Progress:
		node = w.Progress.GetNode()
	}
	if node != s.far.id {
		return fmt.Errorf("%w: %s speaks for node %016x", ErrRefused, s.far, node)
	}
	return nil
}
