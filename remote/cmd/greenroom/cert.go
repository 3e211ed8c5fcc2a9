package main

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/greenroom-go/greenroom/remote/internal/link"
	"github.com/greenroom-go/greenroom/remote/internal/pki"
)

const (
	defaultDir  = "certs"
	day         = 24 * time.Hour
	caDays      = 3650
	nodeDays    = 90
	maxDays     = 36500
	noRoles     = "none"
	showColumns = "  %-8s %s\n"
)

func certCommand() command {
	return command{
		name: "cert", summary: "make, show and revoke the certificates of a cluster's nodes",
		help: `
A cluster has one CA. Whoever has ca.key can make nodes of it: keep that file where certificates are issued, and give each node
NAME only ca.pem, NAME.pem, NAME.key, revoked and gossip.key, for remote.DirTLS. Running nodes follow these files.

To change the CA while nodes run, make the new one in another directory; append its ca.pem to that of all nodes; give them
certificates of the new one; then take the old one out of ca.pem.

Examples:
  greenroom cert cluster -dir certs alpha beta gamma
  greenroom cert node -dir certs delta -roles send,files -days 30
  greenroom cert node -dir certs -renew alpha beta
  greenroom cert show certs/*.pem
  greenroom cert revoke -dir certs delta`,
		below: []command{
			{name: "cluster", args: "[-dir DIR] [flags] NAME...", summary: "a CA and the certificates of nodes", run: certCluster, help: `
Makes the CA and certificates for the nodes of these names. DIR must not hold a CA yet.

Example:
  greenroom cert cluster -dir certs alpha beta gamma`},
			{name: "ca", args: "[-dir DIR] [-days N]", summary: "a CA alone", run: certCA, help: `
Makes ca.pem and ca.key, and beside them gossip.key, the secret that membership is encrypted with, and an empty list of revoked
certificates. Nothing that is there is written over.

Example:
  greenroom cert ca -dir certs -days 3650`},
			{name: "node", args: "[-dir DIR] [flags] NAME...", summary: "certificates of nodes", run: certNode, help: `
Makes NAME.pem and NAME.key for each node. With -renew the certificates that are there are replaced; keys stay, and roles unless
-roles is given. If a key may have been stolen, revoke the certificate, remove both files, and issue others without -renew.

Roles are what a node may do on others: send (to actors, look up names, monitor), spawn (registered behaviours), ship (code),
files (transfer); none for no role.

Examples:
  greenroom cert node -dir certs delta epsilon
  greenroom cert node -dir certs observer -roles send -days 30
  greenroom cert node -dir certs -renew alpha`},
			{name: "show", args: "FILE...", summary: "what certificates say", run: certShow, help: `
Shows each certificate in the files, and whether the list of revoked certificates beside a file has it.

Example:
  greenroom cert show certs/alpha.pem certs/ca.pem`},
			{name: "revoke", args: "[-dir DIR] NAME|SERIAL...", summary: "have certificates refused from now on", run: certRevoke, help: `
Adds certificates to DIR/revoked. Copy that file to all nodes: they take it while they run. NAME stands for all certificates that
were issued to the node in DIR and have not expired.

Examples:
  greenroom cert revoke -dir certs delta
  greenroom cert revoke -dir certs 4f1c96d0a9be33d1c52f7f0e5a4d1b9e`},
		},
	}
}

// certFlags are those of the commands that issue.
type certFlags struct {
	dir   string
	days  int
	roles string
}

func (f *certFlags) order(c *call) (pki.Order, error) {
	roles, err := parseRoles(f.roles)
	if err != nil {
		return pki.Order{}, err
	}
	if len(c.args) == 0 {
		return pki.Order{}, misused("which nodes? Give their names")
	}
	for _, name := range c.args {
		if err := pki.CheckName(name); err != nil {
			return pki.Order{}, usageError{err}
		}
	}
	life, err := parseDays("days", f.days)
	return pki.Order{Names: c.args, Roles: roles, Life: life, KeepRoles: !c.isSet("roles")}, err
}

func (c *call) dirFlag(dir *string) {
	c.flags.StringVar(dir, "dir", defaultDir, "the `directory` of the CA and its certificates")
}

func (c *call) issueFlags() *certFlags {
	f := &certFlags{}
	c.dirFlag(&f.dir)
	c.flags.IntVar(&f.days, "days", nodeDays, "how many `days` the nodes' certificates are valid")
	c.flags.StringVar(&f.roles, "roles", link.AllRoles.String(), "what the nodes may do: `roles`, separated by commas, or none")
	return f
}

func parseDays(flag string, days int) (time.Duration, error) {
	if days < 1 || days > maxDays {
		return 0, misused("-%s is %d, it takes 1 to %d", flag, days, maxDays)
	}
	return time.Duration(days) * day, nil
}

func parseRoles(list string) (link.Roles, error) {
	if list == noRoles {
		return 0, nil
	}
	var roles link.Roles
	for name := range strings.SplitSeq(list, ",") {
		role, err := link.ParseRole(strings.TrimSpace(name))
		if err != nil {
			return 0, misused("-roles has %.80q in it: roles are %v, separated by commas, or none", name, link.AllRoles)
		}
		roles |= role
	}
	return roles, nil
}

func certCA(c *call) error {
	var dir string
	c.dirFlag(&dir)
	days := c.flags.Int("days", caDays, "how many `days` the CA is valid")
	if err := c.parse(); err != nil {
		return err
	}
	if len(c.args) > 0 {
		return misused("%.80q is one argument too many: names of nodes go with cert node or cert cluster", c.args[0])
	}
	life, err := parseDays("days", *days)
	if err != nil {
		return err
	}
	_, err = c.newCA(dir, life)
	return err
}

func (c *call) newCA(dir string, life time.Duration) (*pki.CA, error) {
	ca, err := pki.NewCA(dir, life)
	if err == nil {
		say(c.stdout, "%s: %s, until %s\n", filepath.Join(dir, "ca.pem"), ca.Certificate().Subject.CommonName, date(ca.Certificate().NotAfter))
	}
	return ca, err
}

func certCluster(c *call) error {
	f := c.issueFlags()
	life := c.flags.Int("cadays", caDays, "how many `days` the CA is valid")
	if err := c.parse(); err != nil {
		return err
	}
	order, err := f.order(c)
	if err != nil {
		return err
	}
	caLife, err := parseDays("cadays", *life)
	if err != nil {
		return err
	}
	ca, err := c.newCA(f.dir, caLife)
	if err != nil {
		return err
	}
	return c.issue(ca, f.dir, order)
}

func certNode(c *call) error {
	f := c.issueFlags()
	renew := c.flags.Bool("renew", false, "replace the certificates that are there, and keep their keys")
	if err := c.parse(); err != nil {
		return err
	}
	order, err := f.order(c)
	if err != nil {
		return err
	}
	order.Renew = *renew
	ca, err := pki.LoadCA(f.dir)
	if err != nil {
		return fmt.Errorf("no CA to issue certificates with: %w", err)
	}
	return c.issue(ca, f.dir, order)
}

func (c *call) issue(ca *pki.CA, dir string, order pki.Order) error {
	certs, err := ca.Issue(order)
	for i, cert := range certs {
		id, wrong := pki.IdentityOf(cert)
		if wrong != nil {
			return wrong
		}
		say(c.stdout, "%s: %s, until %s\n", filepath.Join(dir, order.Names[i]+".pem"), rolesText(id.Roles), date(id.NotAfter))
	}
	return err
}

func certShow(c *call) error {
	if err := c.parse(); err != nil {
		return err
	}
	if len(c.args) == 0 {
		return misused("which files?")
	}
	for _, file := range c.args {
		certs, err := pki.ReadCertificates(file)
		if err != nil {
			return err
		}
		for _, cert := range certs {
			text, err := describe(file, cert)
			if err != nil {
				return err
			}
			say(c.stdout, "%s", text)
		}
	}
	return nil
}

func describe(file string, cert *x509.Certificate) (string, error) {
	var text strings.Builder
	line := func(what, value string) { fmt.Fprintf(&text, showColumns, what, value) }
	fmt.Fprintf(&text, "%s\n", file)
	id, err := pki.IdentityOf(cert)
	switch {
	case cert.IsCA:
		line("CA", fmt.Sprintf("%.300q", cert.Subject))
	case err != nil:
		line("node", "none: "+err.Error())
	default:
		line("node", id.Name)
		line("roles", rolesText(id.Roles))
	}
	serial := fmt.Sprintf("%x", cert.SerialNumber)
	line("serial", serial)
	line("valid", fmt.Sprintf("%s to %s, %s", date(cert.NotBefore), date(cert.NotAfter), validity(cert)))
	line("issuer", fmt.Sprintf("%.300q", cert.Issuer))
	revoked, err := pki.Revoked(file, serial)
	if revoked {
		line("revoked", "yes")
	}
	return text.String(), err
}

func validity(cert *x509.Certificate) string {
	left := time.Until(cert.NotAfter)
	switch {
	case left < 0:
		return "EXPIRED"
	case time.Now().Before(cert.NotBefore):
		return "NOT YET VALID"
	case left < 2*day:
		return fmt.Sprintf("%d hours left", left/time.Hour)
	default:
		return fmt.Sprintf("%d days left", left/day)
	}
}

func certRevoke(c *call) error {
	var dir string
	c.dirFlag(&dir)
	if err := c.parse(); err != nil {
		return err
	}
	if len(c.args) == 0 {
		return misused("which certificates? Give names of nodes or serial numbers")
	}
	for _, which := range c.args {
		added, err := pki.Revoke(dir, which)
		if err != nil {
			return err
		}
		for _, serial := range added {
			say(c.stdout, "%s: %s revoked; copy %s to all nodes\n", which, serial, filepath.Join(dir, "revoked"))
		}
		if len(added) == 0 {
			say(c.stdout, "%s: revoked before\n", which)
		}
	}
	return nil
}

func rolesText(roles link.Roles) string {
	if roles == 0 {
		return "no roles"
	}
	return roles.String()
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
