package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/local"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// incoming are the calls that a simulator makes by itself.
type incoming struct {
	calls int
	rate  float64 // a second
	to    string
}

func (a *app) simulateCommand() *cobra.Command {
	var (
		logs       logging
		sim        simulation
		people     incoming
		wrong      faults
		listen     string
		webhookURL string
		customerID string
		keys       setting.Secrets
		strict     bool
	)
	c := &cobra.Command{
		Use: "simulate", Short: "A TeleSign on your machine",
		Long: `Serve TeleSign's POST /v2/voice and live the calls: phones ring, people answer or do
not, listen, press keys, hang up. Events are signed and posted to the webhook, the
answers are executed and checked. At the end, or on Ctrl-C, it reports what it saw.

With --incoming-calls it calls your webhook by itself and ends when those calls have.
Point offhook's --telesign-url at it to have it dialled.

--fault makes things go wrong: NAME=SHARE[:OPTION=VALUE…], where the share is of the
events, requests, calls or holds that the fault is about. The same seed draws the
same faults. All times of faults are real, whatever the speed; during=FROM..TO limits
any of them to a time after the start. --hold-text and --hold say what a hold sounds like.

` + simulator.FaultHelp(),
		Example: `  offhook simulate --webhook-url http://127.0.0.1:8080/telesign/events --incoming-calls 1000 --rate 100 --speed 50
  offhook simulate --fault duplicate=5%:copies=3 --fault dial-5xx=50%:during=10s..15s --fault post-again=2:after=500ms`,
	}
	return a.withJSON(a.command(c, func(set *setting.Set) {
		logs.bind(a, set)
		sim.bind(a, set)
		cat := a.catalogue
		cat.SimulatorListen.Bind(set, &listen)
		cat.WebhookURL.Bind(set, &webhookURL)
		cat.CustomerID.Default(local.CustomerID).Bind(set, &customerID)
		cat.APIKey.Required().Bind(set, &keys)
		cat.IncomingCalls.Bind(set, &people.calls)
		cat.Rate.Bind(set, &people.rate)
		cat.IncomingTo.Bind(set, &people.to)
		cat.StrictAnswers.Bind(set, &strict)
		wrong.bind(a, set)
	}, func(ctx context.Context, _ []string) error {
		cfg := sim.config()
		cfg.WebhookURL, cfg.Account = webhookURL, telesign.Credentials{CustomerID: customerID, APIKey: keys[0]}
		if strict {
			cfg.AnswerTable = telesign.Strict
		}
		if err := wrong.inject(a, &cfg); err != nil {
			return err
		}
		log := logs.logger(a)
		s, err := simulator.New(cfg, log)
		if err != nil {
			return err
		}
		ln, err := role.Listen(ctx, "--simulator-listen (OFFHOOK_SIMULATOR_LISTEN)", listen)
		if err != nil {
			return err
		}
		log.Info("simulated TeleSign listening", "url", "http://"+ln.Addr().String(), "speed", cfg.Speed, "seed", cfg.Seed)
		err = simulate(ctx, s, ln, people, log)
		return errors.Join(err, a.printReport(s.Report()))
	}))
}

// simulate runs s and its server until ctx ends or, with calls of its own, until
// those have ended.
func simulate(ctx context.Context, s *simulator.Simulator, ln net.Listener, people incoming, log *slog.Logger) error {
	ctx, done := context.WithCancel(ctx)
	defer done()
	calling := stage.New("incoming calls")
	if people.calls > 0 {
		calling = stage.New("incoming calls", func(ctx context.Context) error {
			if err := callIn(ctx, s, people); err != nil {
				return err
			}
			if err := s.Wait(ctx); err != nil && ctx.Err() == nil {
				return err
			}
			done()
			<-ctx.Done()
			return nil
		})
	}
	return stage.Run(ctx, log, calling,
		stage.New("simulated calls", s.Run),
		stage.New("simulated TeleSign", func(ctx context.Context) error {
			return api.Serve(ctx, ln, until(ctx, s), log)
		}))
}

// callIn makes people call, at their rate, until all have or ctx ends.
func callIn(ctx context.Context, s *simulator.Simulator, people incoming) error {
	began := time.Now()
	for i := range people.calls {
		due := began.Add(time.Duration(float64(i) / people.rate * float64(time.Second)))
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if _, err := s.Incoming(fmt.Sprintf("1555%07d", i%10_000_000), people.to); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printReport(r simulator.Report) error {
	var err error
	if a.json {
		err = a.printJSON(r)
	} else {
		_, err = fmt.Fprintln(a.Stdout, r)
	}
	if err == nil && !r.Healthy() {
		err = messages.Errorf(messages.CodeInvalid, "%d answers were invalid, %d missing", r.Invalid.Count, r.Missed.Count)
		if n := r.Copies.Different.Count; n > 0 {
			err = messages.Errorf(messages.CodeInvalid, "%w, %d copies answered differently", err, n)
		}
	}
	return err
}
