package remote

// Crash ends the node's part in its cluster without a word, as the end of its process would. Stop cleans up.
func Crash(n *Node) {
	if n.members.by != nil {
		_ = n.members.by.Close()
	}
	n.stop()
	_ = n.tr.Close()
}
