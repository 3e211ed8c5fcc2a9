package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

// MaxNameBytes bounds a node's name.
const MaxNameBytes = 255

const (
	scheme     = "greenroom"
	nodePrefix = scheme + "://node/"
	rolePrefix = scheme + "://role/"
)

// CheckName says what is wrong with the name of a node. A name has 1 to 255 letters, digits, dots, dashes and underscores, of ASCII, and
// begins with a letter or a digit: so it needs no escaping in a URI, and is no path, hidden file or flag.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a node's name may not be empty")
	case len(name) > MaxNameBytes:
		return fmt.Errorf("the name %.40q... has %d bytes: a node's name has %d at most", name, len(name), MaxNameBytes)
	case strings.IndexByte("._-", name[0]) >= 0:
		return fmt.Errorf("the name %q begins with %q: a node's name begins with a letter or a digit", name, name[0])
	}
	for i := range len(name) {
		if !nameByte(name[i]) {
			return fmt.Errorf("the name %q has %q in it: a node's name has letters, digits, dots, dashes and underscores", name, name[i])
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

// uris are the alternative names of a certificate for that node. The name was checked.
func uris(name string, roles link.Roles) []*url.URL {
	all := []*url.URL{{Scheme: scheme, Host: "node", Path: "/" + name}}
	for role := link.Roles(1); role != 0; role <<= 1 {
		if roles&role&link.AllRoles != 0 {
			all = append(all, &url.URL{Scheme: scheme, Host: "role", Path: "/" + role.String()})
		}
	}
	return all
}

// IdentityOf is what a certificate says of its owner. Whether it may be believed is another question.
//
// A role that is not known here is left out: it can only be more than what is known. A greenroom URI of another kind is an error: it
// could be there to restrict. URIs of other schemes are somebody else's.
func IdentityOf(cert *x509.Certificate) (link.Identity, error) {
	id := link.Identity{NotAfter: cert.NotAfter, Serial: serialText(cert.SerialNumber)}
	for _, uri := range cert.URIs {
		if uri.Scheme != scheme {
			continue
		}
		text := uri.String()
		name, isNode := strings.CutPrefix(text, nodePrefix)
		role, isRole := strings.CutPrefix(text, rolePrefix)
		switch {
		case isNode && id.Name != "":
			return link.Identity{}, fmt.Errorf("it names more than one node, %q and %.300q", id.Name, name)
		case isNode:
			if err := CheckName(name); err != nil {
				return link.Identity{}, err
			}
			id.Name = name
		case isRole:
			known, _ := link.ParseRole(role)
			id.Roles |= known
		default:
			return link.Identity{}, fmt.Errorf("it has the URI %.300q, which means nothing to this version", text)
		}
	}
	if id.Name == "" {
		return link.Identity{}, fmt.Errorf("it names no node: it has no URI %sNAME", nodePrefix)
	}
	return id, nil
}
