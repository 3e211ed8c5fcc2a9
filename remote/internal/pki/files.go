package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
)

const (
	caCertFile  = "ca.pem"
	caKeyFile   = "ca.key"
	revokedFile = "revoked"
	gossipFile  = "gossip.key"
	issuedFile  = "issued"

	maxFileBytes  = 1 << 20
	maxBookBytes  = 1 << 26
	maxChain      = 5   // certificates from a node's own up to the one below the CA
	maxFileName   = 255 // what file systems allow
	maxSerialText = 64  // digits; X.509 allows 40
	gossipBytes   = 32
	maxGossipKeys = 16

	secretMode fs.FileMode = 0o600
	publicMode fs.FileMode = 0o644
)

// nodeFiles are the paths of a node's certificate and key in dir.
func nodeFiles(dir, name string) (certFile, keyFile string, err error) {
	if err := CheckName(name); err != nil {
		return "", "", err
	}
	if strings.EqualFold(name, "ca") || strings.EqualFold(name, "gossip") {
		return "", "", fmt.Errorf("no node may be called %q: %s.key is another file", name, strings.ToLower(name))
	}
	if len(name)+len(".pem") > maxFileName {
		return "", "", fmt.Errorf("the name %.40q... has %d bytes, more than the name of a file can hold: choose a shorter one, or name the files", name, len(name))
	}
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"), nil
}

// DirFiles are the files of that node in a directory that `greenroom cert` has made.
func DirFiles(dir, name string) (Files, error) {
	certFile, keyFile, err := nodeFiles(dir, name)
	return Files{
		Name: name, Cert: certFile, Key: keyFile,
		CA: filepath.Join(dir, caCertFile), Revoked: filepath.Join(dir, revokedFile), GossipKey: filepath.Join(dir, gossipFile),
	}, err
}

func readFile(name string) ([]byte, error) { return readUpTo(name, maxFileBytes) }

// readUpTo reads a regular file: opening a pipe could wait for ever.
func readUpTo(name string, limit int) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(file, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes: it is another file, or has too much in it", name, limit)
	}
	return data, nil
}

// writeNew makes a file that is not there yet, as a whole: of several that try, one wins, and the others get fs.ErrExist.
func writeNew(name string, mode fs.FileMode, data []byte) error {
	return write(name, mode, data, func(temp string) error {
		if err := os.Link(temp, name); err != nil {
			return err
		}
		return os.Remove(temp)
	})
}

// replace writes a file as a whole, over the one that is there.
func replace(name string, mode fs.FileMode, data []byte) error {
	return write(name, mode, data, func(temp string) error { return os.Rename(temp, name) })
}

func write(name string, mode fs.FileMode, data []byte, place func(temp string) error) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".greenroom-*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Chmod(mode), file.Sync(), file.Close())
	if err == nil {
		err = place(file.Name())
	}
	if err != nil {
		_ = os.Remove(file.Name()) // it is the first error that counts
	}
	return err
}

// makeOnce makes the file unless it is there.
func makeOnce(name string, mode fs.FileMode, data []byte) error {
	if err := writeNew(name, mode, data); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func there(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

// parseCertificates reads PEM that holds certificates and nothing else, and at least one.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	begun := bytes.Count(data, []byte("-----BEGIN "))
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %q where certificates are expected", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	switch {
	case begun == 0:
		return nil, errors.New("it holds no certificate in PEM")
	case len(certs) != begun: // pem.Decode passes over what it cannot read
		return nil, fmt.Errorf("%d certificates begin in it and %d can be read: it is damaged or cut short", begun, len(certs))
	}
	return certs, nil
}

// ReadCertificates reads a file of certificates.
func ReadCertificates(name string) ([]*x509.Certificate, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return certs, nil
}

// parseCAs is parseCertificates for those of CAs.
func parseCAs(data []byte) ([]*x509.Certificate, error) {
	certs, err := parseCertificates(data)
	for i, cert := range certs {
		if !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
			return nil, fmt.Errorf("certificate %d in it, %.100q, is not that of a CA", i+1, cert.Subject)
		}
	}
	return certs, err
}

// parseKey reads a private key in PEM. Its errors never quote the file.
func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	for block != nil && !strings.HasSuffix(block.Type, "PRIVATE KEY") { // such as EC PARAMETERS, which openssl writes first
		block, data = pem.Decode(data)
	}
	if block == nil {
		return nil, errors.New("it holds no private key in PEM")
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, fmt.Errorf("its %q is no key in PKCS #8 or SEC 1 that can sign, or is encrypted", block.Type)
}

func readKey(name string) (crypto.Signer, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

// lines calls f for what the lines say: a # begins a comment, and white space at the ends does not count.
func lines(data []byte, f func(text string) error) error {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text, _, _ := strings.Cut(string(line), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if err := f(text); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

// serials is a set of serial numbers, as serialText has them.
type serials map[string]struct{}

func (s serials) has(serial string) bool {
	_, ok := s[serial]
	return ok
}

func parseRevoked(data []byte) (serials, error) {
	all := serials{}
	err := lines(data, func(text string) error {
		serial, err := parseSerial(text)
		all[serial] = struct{}{}
		return err
	})
	return all, err
}

// parseSerial brings a serial number into the form of serialText. openssl's colons are allowed.
func parseSerial(text string) (string, error) {
	digits := strings.ReplaceAll(text, ":", "")
	if len(digits) > maxSerialText || strings.Trim(digits, "0123456789abcdefABCDEF") != "" {
		return "", fmt.Errorf("%.80q is no serial number in hexadecimal", text)
	}
	n, ok := new(big.Int).SetString(digits, 16)
	if !ok {
		return "", fmt.Errorf("%.80q is no serial number in hexadecimal", text)
	}
	return serialText(n), nil
}

func serialText(n *big.Int) string { return n.Text(16) }

// parseGossip reads the secrets for gossip: the first is in use, the others are understood.
func parseGossip(data []byte) ([][]byte, error) {
	var keys [][]byte
	err := lines(data, func(text string) error {
		key, err := hex.DecodeString(text)
		if err != nil {
			key, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil || len(key) != gossipBytes {
			return fmt.Errorf("it is not %d bytes in hexadecimal or base64", gossipBytes)
		}
		if len(keys) == maxGossipKeys {
			return fmt.Errorf("it is one more than %d secrets", maxGossipKeys)
		}
		keys = append(keys, key)
		return nil
	})
	if err == nil && len(keys) == 0 {
		err = errors.New("it holds no secret")
	}
	return keys, err
}

func newGossipKey() []byte {
	key := make([]byte, gossipBytes)
	_, _ = rand.Read(key) // it cannot fail
	return append(hex.AppendEncode(nil, key), '\n')
}

const revokedHeader = "# Serial numbers of certificates that are not to be accepted any more, in hexadecimal, one a line.\n"
