package actortest_test

import (
	"testing"

	"github.com/greenroom-go/greenroom/actor/actortest"
)

func TestTwoAdders(t *testing.T)      { actortest.Explore(t, 20, twoAdders) }
func TestTwoAddersAgain(t *testing.T) { actortest.Replay(t, 17, twoAdders) }
