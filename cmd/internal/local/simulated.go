package local

import (
	"context"
	"log/slog"
	"net"
	"net/http"

	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/cmd/internal/stage"
	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/dial"
)

// CustomerID is the simulated account's.
const CustomerID = "00000000-0000-4000-8000-00000000DE40"

// simulatedRate is how many requests a second the simulated account may make.
const simulatedRate = 200

// voicePath is where TeleSign takes requests.
const voicePath = "/v2/voice"

// simulate opens the simulated TeleSign, and says how to dial through it.
func (l *Local) simulate(ctx context.Context, cfg Config) ([]stage.Stage, *dial.Config, error) {
	account := telesign.Credentials{CustomerID: cfg.Account.CustomerID, APIKey: cfg.Account.Keys[0]}
	sim := cfg.Simulator
	sim.WebhookURL, sim.Account = l.WebhookURL, account
	if sim.RateLimit == 0 {
		sim.RateLimit = simulatedRate
	}
	var err error
	if l.Simulator, err = simulator.New(sim, l.log); err != nil {
		return nil, nil, err
	}
	ln, err := l.listen(ctx, "simulator", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	return []stage.Stage{
		stage.New("simulated calls", l.Simulator.Run),
		stage.New("simulated TeleSign", func(ctx context.Context) error { return Serve(ctx, ln, l.Simulator, l.log) }),
	}, &dial.Config{URL: "http://" + ln.Addr().String(), Credentials: account}, nil
}

// Serve serves a simulator on ln, which it closes, until ctx ends.
func Serve(ctx context.Context, ln net.Listener, sim *simulator.Simulator, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle(voicePath, sim)
	return api.Serve(ctx, ln, mux, log)
}
