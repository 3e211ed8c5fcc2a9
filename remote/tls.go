package remote

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

// TLS is where a node's certificate, key and trust come from. There is no way to do without: nodes always prove to each other who they are.
// All of it is followed while the node runs: certificates are renewed, CAs changed and certificates revoked by changing the files.
// DevTLS, DirTLS and FilesTLS make one; the zero value is refused by Start.
type TLS struct {
	source tlsSource
	dir    string
	files  TLSFiles
}

type tlsSource uint8

const (
	noTLS tlsSource = iota
	devTLS
	dirTLS
	filesTLS
)

// ErrNoTLS is what a node that was given no certificate ends with.
var ErrNoTLS = errors.New("remote: a node needs a certificate: for development use remote.DevTLS(\"certs\"), which makes what is missing; " +
	"else make certificates with `greenroom cert cluster -dir certs NAME...` and use remote.DirTLS(\"certs\")")

// DevTLS is for development: what is not there is made in dir when the node starts, a CA and a certificate for the node's name, with all
// roles, good for 90 days and renewed when a third of that is left. Nodes that share dir trust each other, and so does everybody who can
// read ca.key in it. Several nodes and processes may start with the same dir at once.
func DevTLS(dir string) TLS { return TLS{source: devTLS, dir: dir} }

// DirTLS takes the files of the node's name from dir, as `greenroom cert` wrote them: NAME.pem, NAME.key, ca.pem, revoked and gossip.key.
// A node needs no others of that directory; ca.key least of all.
func DirTLS(dir string) TLS { return TLS{source: dirTLS, dir: dir} }

// TLSFiles are the files of one node, wherever its certificates come from. All but gossip's secret and the list of revoked certificates are
// PEM. The certificate has the URI greenroom://node/NAME among its alternative names, a URI greenroom://role/ROLE for each of its roles (send,
// spawn, ship, files), and is for both clients and servers.
type TLSFiles struct {
	// Cert is the node's certificate; those that lead from it to a CA may follow in the same file.
	Cert string
	// Key is its private key.
	Key string
	// CA is the certificates of the CAs whose nodes are accepted.
	CA string
	// Revoked lists revoked certificates: serial numbers in hexadecimal, one a line. Empty means that none are. A file that is named has to be
	// there.
	Revoked string
	// GossipKey is the secret that membership gossip is encrypted with: 32 bytes in hexadecimal or base64. Empty means none.
	GossipKey string
}

// FilesTLS takes all from files that are named one by one.
func FilesTLS(files TLSFiles) TLS { return TLS{source: filesTLS, files: files} }

// open reads the material of the node of that name, and makes it first if that is asked for.
func (t TLS) open(name string, log *slog.Logger) (*pki.Source, error) {
	files, err := t.find(name)
	if errors.Is(err, ErrNoTLS) {
		return nil, err
	}
	var source *pki.Source
	if err == nil {
		source, err = pki.Open(files, log)
	}
	if err != nil {
		return nil, fmt.Errorf("remote: certificates of node %.300q: %w", name, err)
	}
	return source, nil
}

// find says which files they are.
func (t TLS) find(name string) (pki.Files, error) {
	if t.source != filesTLS && t.source != noTLS && t.dir == "" {
		return pki.Files{}, errors.New("no directory is named: give DevTLS or DirTLS one")
	}
	switch t.source {
	case devTLS:
		return pki.Dev(t.dir, name)
	case dirTLS:
		return pki.DirFiles(t.dir, name)
	case filesTLS:
		f := t.files
		return pki.Files{Name: name, Cert: f.Cert, Key: f.Key, CA: f.CA, Revoked: f.Revoked, GossipKey: f.GossipKey}, nil
	default:
		return pki.Files{}, ErrNoTLS
	}
}
