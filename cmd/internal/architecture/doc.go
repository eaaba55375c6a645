// Package architecture holds no code, only tests that keep the shape of the source
// tree: which package may import which, what the pure packages may not touch, what
// stands at the top level, and the habits that a compiler does not check.
//
// Every rule is a row or a function with its reason, and a fixture that breaks it.
// Who finds a rule in the way changes the rule here, in the same commit and with a
// reason, instead of working around it. What the linter can check is in
// .golangci.yaml.
package architecture
