package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/apiclient"
	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// pollEvery is how often --wait looks at a call.
const pollEvery = 300 * time.Millisecond

func (a *app) callCommand() *cobra.Command {
	c := &cobra.Command{Use: "call", Short: "Place a call, look at one"}
	c.AddCommand(a.callPlaceCommand(), a.callShowCommand())
	return c
}

func (a *app) callPlaceCommand() *cobra.Command {
	var (
		apiURL string
		req    messages.PlaceCall
		fields []string
		within time.Duration
		wait   bool
	)
	c := &cobra.Command{
		Use:     "place --to NUMBER --flow NAME",
		Short:   "Place one call",
		Long:    "Place one call: the request is stored, then dialled once, whatever fails in between.\nWith --key, repeating the command does not dial again.",
		Example: "  offhook call place --to 15558675309 --caller-id 15555551212 --flow visit-survey --contact first_name=Ann --wait",
	}
	c.Flags().StringVar(&req.To, "to", "", "number to call, digits with country code (required)")
	c.Flags().StringVar(&req.Flow, "flow", "", "name of the flow to run (required)")
	c.Flags().StringArrayVar(&fields, "contact", nil, "a field of the contact, name=value; repeat it for several")
	c.Flags().StringVar(&req.Key, "key", "", "idempotency key: the same key never dials twice")
	c.Flags().DurationVar(&within, "within", 10*time.Minute, "how long the call is wanted; it is not dialled later")
	c.Flags().BoolVar(&wait, "wait", false, "wait until the call has ended, then show it")
	return a.withJSON(a.command(c, func(set *setting.Set) {
		a.catalogue.APIURL.Bind(set, &apiURL)
		a.catalogue.CallerID.Bind(set, &req.CallerID)
	}, func(ctx context.Context, _ []string) error {
		if req.To == "" || req.Flow == "" {
			return messages.Errorf(messages.CodeUsage, "--to and --flow are required")
		}
		var err error
		if req.Contact, err = contactOf(fields); err != nil {
			return err
		}
		req.NotAfter = time.Now().Add(within)
		client := apiclient.New(apiURL)
		defer client.Close()
		placed, err := client.Place(ctx, req)
		if err != nil {
			return err
		}
		for _, w := range placed.Warnings {
			fmt.Fprintln(a.Stderr, "offhook: warning:", w)
		}
		if wait {
			found, err := waitForEnd(ctx, client, placed.ID)
			if err != nil {
				return err
			}
			return a.printCall(found)
		}
		if a.json {
			return a.printJSON(placed)
		}
		_, err = fmt.Fprintf(a.Stdout, "placed %s\nsee how it goes: offhook call show %s\n", placed.ID, placed.ID)
		return err
	}))
}

// contactOf reads name=value fields.
func contactOf(fields []string) (map[string]string, error) {
	contact := map[string]string{}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, messages.FieldErrorf(messages.CodeUsage, "--contact", "%q is not name=value", f)
		}
		if _, twice := contact[name]; twice {
			return nil, messages.FieldErrorf(messages.CodeUsage, "--contact", "%s is given twice", name)
		}
		contact[name] = value
	}
	return contact, nil
}

// waitForEnd polls a call until it has ended, was refused, or ctx ends.
func waitForEnd(ctx context.Context, client *apiclient.Client, id string) (messages.Call, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		found, err := client.Call(ctx, id)
		if err != nil {
			return found, err
		}
		switch found.Status {
		case messages.CallEnded, messages.CallRefused, messages.CallUnknown:
			return found, nil
		case messages.CallQueued, messages.CallDialing, messages.CallAccepted, messages.CallLive:
		}
		select {
		case <-ctx.Done():
			return found, messages.Errorf(messages.CodeTimeout, "stopped waiting; the call goes on: offhook call show %s", id)
		case <-tick.C:
		}
	}
}

func (a *app) callShowCommand() *cobra.Command {
	var apiURL string
	c := &cobra.Command{
		Use: "show ID", Short: "Show one call: where it stands, answers, timeline", Args: cobra.ExactArgs(1),
		Long: "Show one call. ID is what `call place` printed, or TeleSign's reference_id.",
	}
	return a.withJSON(a.command(c, func(set *setting.Set) {
		a.catalogue.APIURL.Bind(set, &apiURL)
	}, func(ctx context.Context, args []string) error {
		client := apiclient.New(apiURL)
		defer client.Close()
		found, err := client.Call(ctx, args[0])
		if err != nil {
			return err
		}
		return a.printCall(found)
	}))
}

func (a *app) printCall(c messages.Call) error {
	if a.json {
		return a.printJSON(c)
	}
	return writeCall(a.Stdout, c)
}

// writeCall prints a call for people: what it is, what came of it, and line by line
// what happened.
func writeCall(w io.Writer, c messages.Call) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		if value := fmt.Sprintf(format, args...); strings.TrimSpace(value) != "" {
			fmt.Fprintf(tw, "%s\t%s\n", name, value)
		}
	}
	r := c.Record
	line("status", "%s", c.Status)
	line("disposition", "%s %s", r.Disposition, r.Reason)
	line("call", "%s", r.CallID)
	line("placed as", "%s", r.ExternalID)
	line("flow", "%s %s", r.Flow, r.FlowHash)
	line("direction", "%s", r.Direction)
	line("to", "%s", r.To)
	line("from", "%s", r.From)
	if i := c.Intent; i != nil && i.Outcome != "" {
		line("dial", "%s (HTTP %d)", i.Outcome, i.HTTPStatus)
	}
	line("last step", "%s", r.LastStep)
	line("hung up by", "%s", r.HungUpBy)
	if r.TalkSeconds > 0 {
		line("talked", "%s", time.Duration(r.TalkSeconds*float64(time.Second)).Round(100*time.Millisecond))
	}
	line("recording", "%s", r.AudioRecordingFileName)
	if len(r.Answers) > 0 {
		fmt.Fprintln(tw, "\nanswer\tkeys\tlabel")
		for _, answer := range r.Answers {
			fmt.Fprintf(tw, "%s\t%s\t%s\n", answer.Name, answer.Value, answer.Label)
		}
	}
	if len(r.Timeline) > 0 {
		fmt.Fprintln(tw, "\narrived\tevent\tdecision\tstep\tdecided after\tanswer")
		for _, m := range r.Timeline {
			event := strings.TrimSpace(m.Event + " " + m.Status)
			if m.Digits != "" {
				event += " " + m.Digits
			}
			after := ""
			if m.DecidedAt != nil {
				after = m.DecidedAt.Sub(m.At).Round(100 * time.Microsecond).String()
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", m.At.Format("15:04:05.000"), event, strings.TrimSpace(m.Decision+" "+m.Reason), m.Step, after, brief(m.Action))
		}
	}
	return tw.Flush()
}

// maxBrief is how many characters of a prompt a timeline shows; --json has it all.
const maxBrief = 60

// brief is an answer in a few words.
func brief(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	action, err := telesign.ParseAction(body)
	if err != nil || action == nil {
		return string(body)
	}
	what := ""
	switch a := action.(type) {
	case telesign.Speak:
		what = a.Message
	case telesign.Play:
		what = a.URL
	case telesign.PlayMultiple:
		what = strings.Join(a.URLs, " ")
	}
	if runes := []rune(what); len(runes) > maxBrief {
		what = string(runes[:maxBrief]) + "…"
	}
	return strings.TrimSpace(string(action.Method()) + " " + what)
}
