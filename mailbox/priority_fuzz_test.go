package mailbox

import "testing"

func FuzzPriority(f *testing.F) {
	addScripts(f, func(script []byte) { f.Add(uint16(len(script)), script) })
	f.Fuzz(func(t *testing.T, capacity uint16, script []byte) {
		runScript(t, priorityKind(int(capacity)), shortened(script))
	})
}
