package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/flow"
)

func (a *app) flowCommand() *cobra.Command {
	c := &cobra.Command{Use: "flow", Short: "Check call flows"}
	c.AddCommand(a.flowCheckCommand())
	return c
}

// checkedFile is what `flow check --json` prints of one file.
type checkedFile struct {
	File     string        `json:"file"`
	Flow     string        `json:"flow,omitempty"`
	Hash     string        `json:"hash,omitempty"`
	Problems flow.Problems `json:"problems"`
}

func (a *app) flowCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "check FILE…", Short: "Check flow files strictly", Args: cobra.MinimumNArgs(1),
		Long: "Check flow files: everything that is wrong, with file:line:column and what was probably meant.\nExit code 1 when a file has an error; warnings are only printed.",
	}
	return a.withJSON(a.command(c, func(*setting.Set) {}, func(_ context.Context, files []string) error {
		wrong := 0
		checked := make([]checkedFile, 0, len(files))
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				return messages.FieldErrorf(messages.CodeUsage, "FILE", "cannot read it: %w", err)
			}
			one := checkedFile{File: file, Problems: flow.Check(file, source)}
			if one.Problems == nil {
				one.Problems = flow.Problems{}
			}
			if program, err := flow.Compile(file, source); err != nil {
				wrong++
			} else {
				one.Flow, one.Hash = program.Name, program.Hash
			}
			checked = append(checked, one)
		}
		if err := a.printChecked(checked); err != nil {
			return err
		}
		if wrong > 0 {
			return messages.Errorf(messages.CodeInvalid, "%d of %d files cannot be run", wrong, len(files))
		}
		return nil
	}))
}

func (a *app) printChecked(checked []checkedFile) error {
	if a.json {
		return a.printJSON(checked)
	}
	for _, one := range checked {
		for _, p := range one.Problems {
			if _, err := fmt.Fprintln(a.Stdout, p); err != nil {
				return err
			}
		}
		if one.Flow != "" {
			if _, err := fmt.Fprintf(a.Stdout, "%s: flow %s is in order (%s)\n", one.File, one.Flow, one.Hash); err != nil {
				return err
			}
		}
	}
	return nil
}
