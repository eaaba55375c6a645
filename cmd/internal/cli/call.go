package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/apiclient"
	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/messages"
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
		if req.Key == "" {
			req.Key = messages.NewEventID() // so that the command can be repeated
		}
		req.NotAfter = time.Now().Add(within)
		client := apiclient.New(apiURL)
		defer client.Close()
		placed, err := client.Place(ctx, req)
		if err != nil {
			return withAdvice(err, req.Key)
		}
		for _, w := range placed.Warnings {
			fmt.Fprintln(a.Stderr, "offhook: warning:", w)
		}
		if wait {
			found, err := waitForEnd(ctx, client, placed.ID)
			if err != nil {
				return err
			}
			return errors.Join(a.printCall(found), neverCalled(found, placed.ID))
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

// withAdvice says how to go on after a request that may have been taken although no
// answer came.
func withAdvice(err error, key string) error {
	var network *net.OpError
	reached := !errors.As(err, &network) || network.Op != "dial"
	if code := messages.CodeOf(err); reached && (code == messages.CodeUnavailable || code == messages.CodeTimeout) {
		return fmt.Errorf("%w; to be sure, repeat the command with --key %s, which never dials twice", err, key)
	}
	return err
}

// tolerance is how long an API that cannot answer is asked again. A store that is
// restarted, or a starved machine, is back by then.
const tolerance = 5 * time.Second

// insist asks until the answer is not that something cannot be reached just now. What
// is asked must be safe to repeat.
func insist(ctx context.Context, ask func() error) error {
	began := time.Now()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := ask()
		if code := messages.CodeOf(err); code != messages.CodeUnavailable && code != messages.CodeTimeout || time.Since(began) > tolerance {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// waitForEnd polls a call until nothing more is to be expected of it, or ctx ends.
func waitForEnd(ctx context.Context, client *apiclient.Client, id string) (messages.Call, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	unknown := false
	for {
		var found messages.Call
		err := insist(ctx, func() (err error) {
			found, err = client.Call(ctx, id)
			return err
		})
		if err != nil && ctx.Err() == nil {
			return found, err
		}
		switch found.Status {
		case messages.CallEnded, messages.CallRefused:
			return found, nil
		case messages.CallUnknown:
			// A refusal passes through here while its record is being published.
			if unknown {
				return found, nil
			}
			unknown = true
		case messages.CallQueued, messages.CallDialing, messages.CallAccepted, messages.CallLive:
		}
		select {
		case <-ctx.Done():
			return found, messages.Errorf(messages.CodeTimeout, "stopped waiting; the call goes on: offhook call show %s", id)
		case <-tick.C:
		}
	}
}

// neverCalled is the error for a call that was waited for and did not come about.
func neverCalled(c messages.Call, id string) error {
	outcome, answered := "", false
	if c.Intent != nil {
		outcome, answered = c.Intent.Outcome, c.Intent.HTTPStatus != 0
	}
	switch {
	case c.Status == messages.CallUnknown:
		return messages.Errorf(messages.CodeTimeout, "it is not known whether TeleSign placed the call (%s); it is not sent again, and an event may still tell: offhook call show %s", outcome, id)
	case c.Status == messages.CallRefused && answered:
		return messages.Errorf(messages.CodeRefused, "TeleSign refused the call: %s", outcome)
	case c.Status == messages.CallRefused:
		return messages.Errorf(messages.CodeUnavailable, "the call was not sent to TeleSign: %s", outcome)
	}
	return nil
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
