// Package pki is who the nodes of a cluster are: a certificate authority, the nodes' certificates, and the TLS that is made of them.
//
// A certificate binds a node's name and its roles, as URIs among its alternative names:
//
//	greenroom://node/alpha    the name, once
//	greenroom://role/send     a role, as often as there are roles (link.ParseRole)
//
// What a directory holds that `greenroom cert` or DevTLS has made, all of it PEM or text:
//
//	ca.pem       the CA's certificate; several while one CA follows another
//	ca.key       its key; only whoever issues certificates needs it
//	alpha.pem    node alpha's certificate, and what leads from it to the CA if it is not signed by that itself
//	alpha.key    its key
//	revoked      serial numbers of revoked certificates, in hexadecimal, one a line
//	issued       what the CA has issued: serial number, name, when it expires; only whoever revokes certificates needs it
//	gossip.key   the secret that membership is encrypted with, 32 bytes in hexadecimal, one a line
//
// Keys and secrets can be read by their owner only. Files come into being as a whole, by link or rename, so that nobody reads half of
// one and several processes may make the same directory at once.
package pki
