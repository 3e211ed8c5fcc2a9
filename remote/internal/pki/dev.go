package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
)

const (
	devLife   = 90 * 24 * time.Hour
	devCALife = 10 * 365 * 24 * time.Hour
)

// Dev makes sure that dir has a CA and a certificate for the node of that name, and returns its files. What is missing is made; a
// certificate that has a third of its life left, or less, is renewed and keeps its roles. What cannot be used and is no matter of time is an
// error, not overwritten. Several processes may do this at once.
func Dev(dir, name string) (Files, error) {
	files, err := DirFiles(dir, name)
	if err != nil {
		return Files{}, err
	}
	ca, err := devCA(dir)
	if err != nil {
		return Files{}, err
	}
	stale, err := ca.devStale(files)
	if err != nil {
		return Files{}, err
	}
	if stale {
		_, err = ca.Issue(Order{Names: []string{name}, Roles: link.AllRoles, Life: devLife, Renew: true, KeepRoles: true})
	}
	files.Renew = func() error {
		_, err := Dev(dir, name)
		return err
	}
	return files, err
}

func devCA(dir string) (*CA, error) {
	if there(filepath.Join(dir, caCertFile)) {
		return LoadCA(dir)
	}
	return makeCA(dir, devCALife, makeOnce)
}

// devStale reports whether the node needs a certificate.
func (ca *CA) devStale(files Files) (bool, error) {
	certs, err := ReadCertificates(files.Cert)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if err := certs[0].CheckSignatureFrom(ca.cert); err != nil {
		return false, fmt.Errorf("%s was not signed by the CA beside it: remove it to get another one: %w", files.Cert, err)
	}
	if ca.revoked.has(serialText(certs[0].SerialNumber)) {
		return false, fmt.Errorf("%s was revoked: remove it and %s to get others", files.Cert, files.Key)
	}
	return due(certs[0]) || !there(files.Key), nil
}
