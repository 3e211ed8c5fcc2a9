package pki

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Revoke adds to the list of revoked certificates in dir: all that the node of that name was issued and that have not expired, or the one of
// that serial number. It returns those that were not in the list before.
func Revoke(dir, which string) (added []string, err error) {
	all, err := serialsOf(dir, which)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, revokedFile)
	revoked, err := readRevoked(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var text strings.Builder
	for _, serial := range all {
		if !revoked.has(serial) && !slices.Contains(added, serial) {
			added = append(added, serial)
			fmt.Fprintf(&text, "%s # %.300s %s\n", serial, which, stamp(time.Now()))
		}
	}
	if text.Len() == 0 {
		return nil, nil
	}
	return added, appendTo(name, publicMode, text.String())
}

// appendTo appends by one write, rather than write the file anew: of two that do this at once neither is lost. It begins with an end of line
// in case that the last line has none.
func appendTo(name string, mode fs.FileMode, text string) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, mode)
	if err != nil {
		return err
	}
	_, err = file.WriteString("\n" + text)
	return errors.Join(err, file.Sync(), file.Close())
}

// serialsOf are the serial numbers that a node's name or a number stands for. What could be a misspelt name, such as bad, is no number.
func serialsOf(dir, which string) ([]string, error) {
	const least = 16
	if CheckName(which) == nil {
		all, err := issuedTo(dir, which)
		if err != nil || len(all) > 0 {
			return all, err
		}
	}
	serial, err := parseSerial(which)
	if err != nil || len(which) < least {
		return nil, fmt.Errorf("%.300q is neither a node with a certificate in %s nor a serial number: that has %d hexadecimal digits at least, with zeros in front if need be", which, dir, least)
	}
	return []string{serial}, nil
}

// issuedTo are the serial numbers of a node's certificates: those in the book that have not expired, and that of the one that is there.
func issuedTo(dir, name string) ([]string, error) {
	var all []string
	book := filepath.Join(dir, issuedFile)
	data, err := readUpTo(book, maxBookBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	err = lines(data, func(text string) error {
		serial, of, expires, err := parseIssued(text)
		if err == nil && of == name && time.Now().Before(expires) {
			all = append(all, serial)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", book, err)
	}
	certFile, _, err := nodeFiles(dir, name)
	if err != nil || !there(certFile) {
		return all, nil //nolint:nilerr // a node that no file can be named for has none here
	}
	certs, err := ReadCertificates(certFile)
	if err != nil {
		return nil, err
	}
	return append(all, serialText(certs[0].SerialNumber)), nil
}

// issuedLine is a line of the book of what the CA has issued: whoever revokes a node means its earlier certificates too.
func issuedLine(serial, name string, expires time.Time) string {
	return fmt.Sprintf("%s %s %s\n", serial, name, stamp(expires))
}

func parseIssued(text string) (serial, name string, expires time.Time, err error) {
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return "", "", time.Time{}, errors.New("it is not a serial number, a name and a time")
	}
	if serial, err = parseSerial(fields[0]); err == nil {
		expires, err = time.Parse(time.RFC3339, fields[2])
	}
	return serial, fields[1], expires, err
}

func readRevoked(name string) (serials, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	revoked, err := parseRevoked(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return revoked, nil
}

// Revoked reports whether the list beside a file of certificates, if there is one, has that number.
func Revoked(certFile, serial string) (bool, error) {
	revoked, err := readRevoked(filepath.Join(filepath.Dir(certFile), revokedFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return revoked.has(serial), err
}
