package mailbox

import "testing"

// FuzzMPSC runs any bytes as a script of operations against the model, as do the other queues' targets.
func FuzzMPSC(f *testing.F) {
	addScripts(f, func(script []byte) { f.Add(script) })
	f.Fuzz(func(t *testing.T, script []byte) { runScript(t, mpscKind(), shortened(script)) })
}

func addScripts(f *testing.F, add func(script []byte)) {
	f.Helper()
	add(nil)
	add([]byte{0xf0, 0x97, 0x0a, 0xff, 0x0f, 0x00})
	rnd := random(f)
	for range 3 {
		add(randomScript(rnd, 100))
	}
}

// shortened keeps one execution cheap: the model is quadratic.
func shortened(script []byte) []byte { return script[:min(len(script), 300)] }
