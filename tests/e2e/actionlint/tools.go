//go:build tools

// The linter of workflows that test_github_actions.py builds.
package tools

import _ "github.com/rhysd/actionlint/cmd/actionlint"
