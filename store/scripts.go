package store

import (
	_ "embed" // the scripts

	"github.com/redis/go-redis/v9"
)

// The scripts, one file each, whose header says inputs, outputs and invariants.
// They run by hash (EVALSHA); a server that has lost its script cache gets the
// text once more.
var (
	//go:embed lua/commit_call.lua
	commitCallLua    string
	commitCallScript = redis.NewScript(commitCallLua)

	//go:embed lua/create_intent.lua
	createIntentLua    string
	createIntentScript = redis.NewScript(createIntentLua)

	//go:embed lua/begin_try.lua
	beginTryLua    string
	beginTryScript = redis.NewScript(beginTryLua)

	//go:embed lua/resolve_try.lua
	resolveTryLua    string
	resolveTryScript = redis.NewScript(resolveTryLua)

	//go:embed lua/claim_intent.lua
	claimIntentLua    string
	claimIntentScript = redis.NewScript(claimIntentLua)
)
