package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Discovery knows where the first nodes can be found. It is asked when a node starts, and again from time to time, so that halves
// of a cluster that have lost each other meet again.
type Discovery interface {
	// Seeds are addresses, "host:port", at which members of the cluster may listen for membership. The caller's own may be among
	// them, and so may some where nobody is.
	Seeds(ctx context.Context) ([]string, error)
}

// Static is a fixed list of addresses, "host:port".
type Static []string

// Seeds is the list.
func (s Static) Seeds(context.Context) ([]string, error) { return slices.Clone(s), nil }

// Resolver is what DNS asks; *net.Resolver is one.
type Resolver interface {
	// LookupNetIP finds the addresses of a host.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LookupSRV finds the hosts and ports of a service; with service and proto empty, name is the whole name.
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// DNS finds nodes by a name in the DNS, such as that of a headless service.
type DNS struct {
	Name     string   // whose records are asked for
	Port     int      // the port of every node whose address is found (A and AAAA); zero asks for SRV records, which have ports
	Resolver Resolver // nil means net.DefaultResolver
}

// Seeds asks the DNS, each time anew.
func (d DNS) Seeds(ctx context.Context) ([]string, error) {
	if d.Name == "" || d.Port < 0 || d.Port > 65535 {
		return nil, fmt.Errorf("cluster: DNS{Name: %.80q, Port: %d}: give the name to ask for, and a port or, for SRV records, none", d.Name, d.Port)
	}
	resolver := d.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if d.Port == 0 {
		return services(ctx, resolver, d.Name)
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip", d.Name)
	if err != nil {
		return nil, fmt.Errorf("cluster: find nodes by the addresses of %.80q: %w", d.Name, err)
	}
	seeds := make([]string, 0, len(addrs))
	for _, addr := range addrs {
		seeds = append(seeds, netip.AddrPortFrom(addr.Unmap(), uint16(d.Port)).String())
	}
	return tidy(seeds), nil
}

func services(ctx context.Context, resolver Resolver, name string) ([]string, error) {
	_, records, err := resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, fmt.Errorf("cluster: find nodes by the SRV records of %.80q: %w", name, err)
	}
	seeds := make([]string, 0, len(records))
	for _, r := range records {
		seeds = append(seeds, net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port))))
	}
	return tidy(seeds), nil
}

// tidy has each address once.
func tidy(seeds []string) []string {
	slices.Sort(seeds)
	return slices.Compact(seeds)
}
