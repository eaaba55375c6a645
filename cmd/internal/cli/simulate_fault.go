package cli

import (
	"context"
	"net/http"

	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/cmd/internal/simulator"
)

// faults is what goes wrong in a simulation, and what its webhook says meanwhile.
type faults struct {
	specs []string
	hold  string
	holds []setting.Hold
}

func (f *faults) bind(a *app, set *setting.Set) {
	a.catalogue.Fault.Bind(set, &f.specs)
	a.catalogue.HoldText.Bind(set, &f.hold)
	a.catalogue.Hold.Bind(set, &f.holds)
}

func (f *faults) inject(a *app, cfg *simulator.Config) error {
	if f.hold != "" {
		cfg.HoldTexts = append(cfg.HoldTexts, f.hold)
	}
	for _, h := range f.holds {
		cfg.HoldTexts = append(cfg.HoldTexts, h.Text)
	}
	if err := cfg.Inject(f.specs...); err != nil {
		return a.catalogue.Fault.Errorf("%w", err)
	}
	return nil
}

// until gives every request a context that ends with ctx too, so that none that a
// fault leaves without an answer keeps the server from stopping.
func until(ctx context.Context, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		both, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		h.ServeHTTP(w, r.WithContext(both)) //nolint:contextcheck // it is the request's, and ends earlier
	})
}
