package mailbox

import "testing"

func FuzzBounded(f *testing.F) {
	for policy := Reject; policy <= DropOldest; policy++ {
		addScripts(f, func(script []byte) { f.Add(uint16(len(script)), uint8(policy), script) })
	}
	f.Fuzz(func(t *testing.T, capacity uint16, policy uint8, script []byte) {
		k := boundedKind(int(capacity), Overflow(policy))
		if _, err := NewBounded[int](k.capacity, k.policy); err != nil {
			return
		}
		runScript(t, k, shortened(script))
	})
}
