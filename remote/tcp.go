package remote

import "errors"

func (n *Node) listenTCP() error { return errors.New("remote: not yet") }
