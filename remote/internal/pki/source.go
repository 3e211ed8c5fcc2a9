package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// Files are the files of one node.
type Files struct {
	// Name is the node's name, which its certificate has to say.
	Name string
	// Cert and Key are its certificate and key. Certificates that lead from it to a CA may follow it in the same file.
	Cert, Key string
	// CA is the certificates of the CAs whose nodes are accepted.
	CA string
	// Revoked is the list of revoked certificates. Empty means that there are none; if it is named it has to be there, though it may be
	// empty: whoever has lost the list cannot know whom to refuse.
	Revoked string
	// GossipKey is the secret for gossip. Empty means none.
	GossipKey string
	// Renew, if it is set, is called when a third of the certificate's life is left, or less.
	Renew func() error
}

// Source is what a node proves who it is with, and knows others by. It follows its files: at handshakes and checks, once a second at most, it
// looks whether they say something else.
//
// Certificate and key, CAs, revocations and the secret each follow their own file, so that one that is broken does not keep news of the
// others out; it stays as it was, and that is logged. What ca.pem says is who is trusted, even if our own certificate is not among them.
//
// Any goroutine may use it. It has no goroutine and holds no file open, so it need not be closed.
type Source struct {
	files Files
	log   *slog.Logger
	now   atomic.Pointer[material]

	mu      sync.Mutex // held while files are read; a handshake that comes meanwhile goes by what was
	checked time.Time
	logged  string // the error that was logged last, so that it is not logged each second
}

// material is what the files say. It is never changed.
type material struct {
	own     part[owned]
	cas     part[trusted]
	revoked part[serials]
	gossip  part[[][]byte]
}

type owned struct {
	cert     *tls.Certificate
	chain    []*x509.Certificate // the same, parsed
	identity link.Identity
}

type trusted struct {
	certs []*x509.Certificate
	pool  *x509.CertPool
}

// part is what one file says, or two that belong together. The text is kept and compared, rather than times and sizes, which may be the same
// after a change.
type part[T any] struct {
	text  []byte
	value T
}

// next reads the files and returns what they say; the old part, if that is the same or an error.
func (p part[T]) next(parse func(...[]byte) (T, error), files ...string) (part[T], error) {
	if files[0] == "" {
		return p, nil
	}
	texts := make([][]byte, len(files))
	for i, file := range files {
		var err error
		if texts[i], err = readFile(file); err != nil {
			return p, err
		}
	}
	text := bytes.Join(texts, []byte{0})
	if p.text != nil && bytes.Equal(p.text, text) {
		return p, nil
	}
	value, err := parse(texts...)
	if err != nil {
		return p, fmt.Errorf("%s: %w", files[0], err)
	}
	return part[T]{text: text, value: value}, nil
}

// Open reads the files. What is wrong with any of them is an error, and so is a certificate of this node that others would refuse. log may be
// nil.
func Open(files Files, log *slog.Logger) (*Source, error) {
	if err := CheckName(files.Name); err != nil {
		return nil, err
	}
	for _, need := range []struct{ what, file string }{{"certificate", files.Cert}, {"key", files.Key}, {"CAs", files.CA}} {
		if need.file == "" {
			return nil, fmt.Errorf("no file is named for the %s", need.what)
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Source{files: files, log: log, checked: time.Now()}
	m, err := s.load(&material{})
	if err != nil {
		return nil, err
	}
	if wrong := m.wrong(m.own.value.identity); wrong != nil { // that it was revoked is all that load has not looked at
		return nil, fmt.Errorf("%s would be refused: %s", files.Cert, wrong.Text)
	}
	s.now.Store(m)
	s.warnOfReaders()
	return s, nil
}

// warnOfReaders logs which secrets strangers could read. It is no error: some platforms mount all secrets like that.
func (s *Source) warnOfReaders() {
	if runtime.GOOS == "windows" { // where modes say nothing
		return
	}
	for _, file := range []string{s.files.Key, s.files.GossipKey} {
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o007 != 0 {
			s.log.Warn("remote: a secret can be read by every user of this machine", "file", file, "mode", info.Mode().Perm().String())
		}
	}
}

// load returns what the files say, and for what cannot be used the old.
func (s *Source) load(old *material) (*material, error) {
	m := *old
	var errs [5]error
	m.cas, errs[0] = old.cas.next(func(text ...[]byte) (trusted, error) { return parseTrusted(text[0]) }, s.files.CA)
	m.revoked, errs[1] = old.revoked.next(func(text ...[]byte) (serials, error) { return parseRevoked(text[0]) }, s.files.Revoked)
	m.gossip, errs[2] = old.gossip.next(func(text ...[]byte) ([][]byte, error) { return parseGossip(text[0]) }, s.files.GossipKey)
	own, err := old.own.next(func(text ...[]byte) (owned, error) { return parseOwned(s.files, text[0], text[1]) }, s.files.Cert, s.files.Key)
	errs[3] = err
	// What others would say of our own certificate, but for revocation: a list that has our own number is still to be followed.
	if chain := own.value.chain; chain != nil && m.cas.value.pool != nil {
		if wrong := m.chain(chain[0], chain[1:]); wrong != nil {
			errs[4] = fmt.Errorf("%s would be refused by whoever has %s: %s", s.files.Cert, s.files.CA, wrong.Text)
			own = old.own
		}
	}
	m.own = own
	return &m, errors.Join(errs[:]...)
}

func (p part[T]) same(q part[T]) bool { return bytes.Equal(p.text, q.text) }

func parseTrusted(text []byte) (trusted, error) {
	certs, err := parseCAs(text)
	pool := x509.NewCertPool()
	for _, cert := range certs {
		pool.AddCert(cert)
	}
	return trusted{certs, pool}, err
}

func parseOwned(files Files, certText, keyText []byte) (owned, error) {
	certs, err := parseCertificates(certText)
	if err != nil {
		return owned{}, err
	}
	key, err := parseKey(keyText)
	if err != nil {
		return owned{}, fmt.Errorf("its key %s: %w", files.Key, err)
	}
	id, err := IdentityOf(certs[0])
	if err != nil {
		return owned{}, err
	}
	if id.Name != files.Name {
		return owned{}, fmt.Errorf("it is the certificate of node %q, and this node is called %q", id.Name, files.Name)
	}
	if !samePublic(certs[0].PublicKey, key.Public()) {
		return owned{}, fmt.Errorf("its key is not the one in %s", files.Key)
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: certs[0]}
	for _, c := range certs {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return owned{cert, certs, id}, nil
}

// Reload reads the files now. The error is what is wrong with any of them; the rest is in force.
func (s *Source) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reload()
}

// reload is called under mu.
func (s *Source) reload() error {
	s.checked = time.Now()
	old := s.now.Load()
	var renewed error
	if s.files.Renew != nil && due(old.own.value.cert.Leaf) {
		renewed = s.files.Renew()
	}
	m, err := s.load(old)
	err = errors.Join(renewed, err)
	s.now.Store(m)
	s.report(old, m, err)
	return err
}

func (s *Source) report(old, m *material, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.logged {
		s.log.Error("remote: files of certificates cannot be used, what they said before stays in force", "node", s.files.Name, "err", err)
	}
	s.logged = text
	if same := m.own.same(old.own) && m.cas.same(old.cas) && m.revoked.same(old.revoked) && m.gossip.same(old.gossip); !same {
		s.log.Info("remote: certificates were read anew", "node", s.files.Name,
			"serial", m.own.value.identity.Serial, "expires", m.own.value.identity.NotAfter, "cas", len(m.cas.value.certs),
			"revoked", len(m.revoked.value), "secrets", len(m.gossip.value))
	}
}

// fresh is what the files say, or said a second ago.
func (s *Source) fresh() *material {
	const often = time.Second
	if s.mu.TryLock() {
		if time.Since(s.checked) >= often {
			_ = s.reload() // it was logged
		}
		s.mu.Unlock()
	}
	return s.now.Load()
}

// Identity is who this node is.
func (s *Source) Identity() link.Identity { return s.now.Load().own.value.identity }

// GossipKey is the secret that gossip is encrypted with, nil if no file was named for it. It is the caller's to keep.
func (s *Source) GossipKey() []byte {
	if keys := s.GossipKeys(); len(keys) > 0 {
		return keys[0]
	}
	return nil
}

// GossipKeys are all secrets for gossip: what others have encrypted with any of them is understood. The first is GossipKey. So that the
// secret can be changed without a gap: first the new one is added everywhere, then it is moved to the front, then the old one goes.
func (s *Source) GossipKeys() [][]byte {
	var keys [][]byte
	for _, key := range s.fresh().gossip.value {
		keys = append(keys, slices.Clone(key))
	}
	return keys
}
