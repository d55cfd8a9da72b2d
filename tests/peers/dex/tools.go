//go:build tools

// Package tools names what the tests build: Dex's own command, from the Go proxy (tests/servers/dex.py).
package tools

import _ "github.com/dexidp/dex/cmd/dex"
