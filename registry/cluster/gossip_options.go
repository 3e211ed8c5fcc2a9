package cluster

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
)

// KeyBytes is the size of a key.
const KeyBytes = 32

// GossipOptions say how a Gossip talks.
type GossipOptions struct {
	// Key encrypts all gossip (AES-256-GCM). It has KeyBytes, is the same for all, and must be given: there is no gossip in the clear.
	// Whoever has it is trusted.
	Key []byte
	// OldKeys are accepted as well, while keys are changed: first give all nodes the new one as an old one, then as Key, then
	// take the old one away.
	OldKeys [][]byte
	// Bind is the address to listen at, UDP and TCP, "ip:port" of either family. Empty means 127.0.0.1:0, which nobody else can
	// reach; port 0 is one that is free.
	Bind string
	// Advertise is the address at which others reach that, "ip:port"; port 0 or none is the one bound. Empty means Bind. It must be
	// given when Bind is all addresses of the machine (0.0.0.0 or ::).
	Advertise string

	// ProbeInterval is how often another member is asked whether it lives. Zero means a second.
	ProbeInterval time.Duration
	// ProbeTimeout is how long it may take to answer. Zero means half a ProbeInterval.
	ProbeTimeout time.Duration
	// Suspicion is how many ProbeIntervals, times the logarithm of the number of members, one that does not answer has to refute
	// that it has failed. Zero means 4.
	Suspicion int
	// GossipInterval is how often news is sent. Zero means 200 ms.
	GossipInterval time.Duration
	// SyncInterval is how often a member exchanges its whole state with another one. Zero means 30 s.
	SyncInterval time.Duration
	// SeedInterval is how often the Discovery is asked again, for members that are not known. A node that is alone asks each
	// second, if that is more often. Zero means 30 s.
	SeedInterval time.Duration
	// StreamTimeout bounds one exchange of states, and so how long Start and Join outlast their context for each address. Zero means 5 s.
	StreamTimeout time.Duration

	// Logger takes what goes on. Nil means slog.Default.
	Logger *slog.Logger
}

var errOptions = errors.New("cluster: gossip cannot be set up")

func (o GossipOptions) withDefaults() (GossipOptions, error) {
	for _, key := range append([][]byte{o.Key}, o.OldKeys...) {
		if len(key) != KeyBytes {
			return o, fmt.Errorf("%w: a key has %d bytes, and each must have %d random ones, the same at all nodes", errOptions, len(key), KeyBytes)
		}
	}
	o.Key = slices.Clone(o.Key)
	if o.Bind == "" {
		o.Bind = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		or    time.Duration
	}{
		{"ProbeInterval", &o.ProbeInterval, time.Second}, {"ProbeTimeout", &o.ProbeTimeout, 0}, {"GossipInterval", &o.GossipInterval, 200 * time.Millisecond},
		{"SyncInterval", &o.SyncInterval, 30 * time.Second}, {"SeedInterval", &o.SeedInterval, 30 * time.Second}, {"StreamTimeout", &o.StreamTimeout, 5 * time.Second},
	} {
		if *d.value < 0 {
			return o, fmt.Errorf("%w: %s is %v: give a positive duration, or 0 for the default", errOptions, d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	if o.ProbeTimeout == 0 {
		o.ProbeTimeout = max(o.ProbeInterval/2, time.Millisecond)
	}
	if o.Suspicion < 0 {
		return o, fmt.Errorf("%w: Suspicion is %d: give a positive number, or 0 for the default", errOptions, o.Suspicion)
	}
	if o.Suspicion == 0 {
		o.Suspicion = 4
	}
	_, _, err := o.addresses()
	return o, err
}

// addresses are where to listen, and what to tell others; the latter is not valid when it is the former.
func (o GossipOptions) addresses() (bind, advertise netip.AddrPort, err error) {
	if bind, err = netip.ParseAddrPort(o.Bind); err != nil {
		return bind, advertise, fmt.Errorf("%w: Bind is %.80q: give an address of this machine (ip:port): %w", errOptions, o.Bind, err)
	}
	if bind.Addr().Zone() != "" { // memberlist would take it for all addresses
		return bind, advertise, fmt.Errorf("%w: Bind is %s: an address with a zone cannot be bound", errOptions, bind)
	}
	bind = netip.AddrPortFrom(bind.Addr().Unmap(), bind.Port())
	if o.Advertise == "" {
		if bind.Addr().IsUnspecified() {
			return bind, advertise, fmt.Errorf("%w: Bind is %s, all addresses: give in Advertise the one that others can reach", errOptions, bind)
		}
		return bind, advertise, nil
	}
	if advertise, err = netip.ParseAddrPort(o.Advertise); err != nil {
		ip, ipErr := netip.ParseAddr(o.Advertise)
		if ipErr != nil {
			return bind, advertise, fmt.Errorf("%w: Advertise is %.80q: give the address that others can reach (ip:port): %w", errOptions, o.Advertise, err)
		}
		advertise = netip.AddrPortFrom(ip, 0)
	}
	if advertise.Addr().IsUnspecified() || advertise.Addr().Zone() != "" {
		return bind, advertise, fmt.Errorf("%w: Advertise is %s, which others cannot reach: give one address, without a zone", errOptions, advertise)
	}
	return bind, netip.AddrPortFrom(advertise.Addr().Unmap(), advertise.Port()), nil
}

// config is what memberlist needs to know, but for delegates and the name.
func (o GossipOptions) config() (*memberlist.Config, error) {
	bind, advertise, err := o.addresses()
	if err != nil {
		return nil, err
	}
	logger := log.New(logWriter{o.Logger}, "", 0)
	c := memberlist.DefaultLANConfig()
	c.Logger = logger
	c.Keyring, err = memberlist.NewKeyring(o.OldKeys, o.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOptions, err)
	}
	c.BindAddr, c.BindPort = bind.Addr().String(), int(bind.Port())
	c.Transport, err = listen(c, logger)
	if err != nil {
		return nil, fmt.Errorf("%w: listen at %s: %w", errOptions, bind, err)
	}
	if advertise.IsValid() {
		c.AdvertiseAddr, c.AdvertisePort = advertise.Addr().String(), int(advertise.Port())
		if advertise.Port() == 0 {
			c.AdvertisePort = c.BindPort
		}
	}
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = o.ProbeInterval, o.ProbeTimeout, o.Suspicion
	c.GossipInterval, c.PushPullInterval, c.TCPTimeout = o.GossipInterval, o.SyncInterval, o.StreamTimeout
	c.EnableCompression = false // states are small, and what is compressed must be bounded once more
	return c, nil
}

// listen binds both sockets. The free port for TCP that the system picks may be taken for UDP: then it picks another.
func listen(c *memberlist.Config, logger *log.Logger) (*memberlist.NetTransport, error) {
	var errs error
	for range 10 {
		t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{c.BindAddr}, BindPort: c.BindPort, Logger: logger})
		if err == nil {
			c.BindPort = t.GetAutoBindPort()
			return t, nil
		}
		if errs = err; c.BindPort != 0 {
			break
		}
	}
	return nil, errs
}

// resolve makes addresses of seeds, whose hosts may be names. What cannot be found is in the error.
func resolve(ctx context.Context, seeds []string) ([]string, error) {
	var all []string
	var errs []error
	for _, seed := range seeds {
		host, port, err := net.SplitHostPort(seed)
		if err == nil {
			err = checkAddr(seed)
		}
		var ips []netip.Addr
		if err == nil {
			ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the seed %.80q: %w", seed, err))
			continue
		}
		n, _ := strconv.ParseUint(port, 10, 16)
		for _, ip := range ips {
			all = append(all, netip.AddrPortFrom(ip.Unmap(), uint16(n)).String())
		}
	}
	return tidy(all), errors.Join(errs...)
}
