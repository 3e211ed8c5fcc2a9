// Package remote makes nodes of Systems: they reach each other's actors over the network.
package remote
