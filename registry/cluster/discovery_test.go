package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/greenroom-go/greenroom/registry/cluster"
)

// zone is a small DNS.
type zone struct {
	addrs map[string][]netip.Addr
	srv   map[string][]*net.SRV
}

var errNoHost = errors.New("no such host")

func (z zone) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	if addrs, ok := z.addrs[host]; ok && network == "ip" {
		return addrs, nil
	}
	return nil, errNoHost
}

func (z zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if srv, ok := z.srv[name]; ok && service+proto == "" {
		return name, srv, nil
	}
	return "", nil, errNoHost
}

func TestDNS(t *testing.T) {
	z := zone{
		map[string][]netip.Addr{"nodes.example": {netip.MustParseAddr("::ffff:10.0.0.2"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.0.0.2")}},
		map[string][]*net.SRV{"_gossip._tcp.example": {{Target: "b.example.", Port: 2}, {Target: "a.example.", Port: 1}}},
	}
	for _, c := range []struct {
		dns  cluster.DNS
		want string
	}{
		{cluster.DNS{Name: "nodes.example", Port: 7946}, "[10.0.0.2:7946 [fd00::1]:7946]"},
		{cluster.DNS{Name: "_gossip._tcp.example"}, "[a.example:1 b.example:2]"},
	} {
		c.dns.Resolver = z
		got, err := c.dns.Seeds(t.Context())
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v (%v), want %s", c.dns.Name, got, err, c.want)
		}
	}
	for _, d := range []cluster.DNS{{Name: "other.example", Port: 1}, {Name: "other.example"}} {
		d.Resolver = z
		_, err := d.Seeds(t.Context())
		wantErr(t, "a name that is not there", err, errNoHost)
	}
	for _, d := range []cluster.DNS{{}, {Name: "x", Port: -1}, {Name: "x", Port: 65536}} {
		if _, err := d.Seeds(t.Context()); err == nil {
			t.Errorf("%+v is taken for valid", d)
		}
	}
}

var exampleZone = zone{addrs: map[string][]netip.Addr{
	"greenroom.default.svc.cluster.local": {netip.MustParseAddr("10.1.0.9"), netip.MustParseAddr("10.1.0.4")},
}}
