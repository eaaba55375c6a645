package worker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/flow"
)

// refreshFlows is how often the flows a worker runs are touched in the store, so
// that they outlive their time to live however long it is up. Far below any
// sensible retention; each costs one small read.
const refreshFlows = time.Hour

// Catalog holds the flows a worker runs, by name, and every version it has met, by
// hash. Versions that it lacks it loads from the store: another worker put them
// there before any call could run them. A version is never dropped: there are as
// many as there were edits while the process ran.
type Catalog struct {
	store    *store.Store
	incoming string
	every    time.Duration // between refreshes
	log      *slog.Logger

	mu       sync.RWMutex
	current  map[string]*flow.Program // by name
	versions map[string]*flow.Program // by hash
}

// NewCatalog makes an empty catalogue. incoming names the flow for calls that we
// did not place; empty means the only flow, if there is just one.
func NewCatalog(st *store.Store, incoming string, log *slog.Logger) *Catalog {
	return &Catalog{
		store: st, incoming: incoming, every: refreshFlows, log: log,
		current: map[string]*flow.Program{}, versions: map[string]*flow.Program{},
	}
}

// Use makes programs the current versions of their names, after the store has them.
// Names that are not among them stop being current; live calls keep theirs. Two
// programs of one name, or an incoming flow that is not there, are refused and
// change nothing.
func (c *Catalog) Use(ctx context.Context, programs ...*flow.Program) error {
	current := make(map[string]*flow.Program, len(programs))
	for _, p := range programs {
		if other := current[p.Name]; other != nil && other.Hash != p.Hash {
			return messages.FieldErrorf(messages.CodeUsage, "flow", "two files define a flow named %q; rename one", p.Name)
		}
		current[p.Name] = p
	}
	if c.incoming != "" && current[c.incoming] == nil {
		return messages.FieldErrorf(messages.CodeUsage, "incoming", "no flow named %q among the files given; there is %s", c.incoming, namesOf(current))
	}
	for _, p := range programs {
		if err := c.store.PutFlow(ctx, p.Name, p.Hash, p.Source); err != nil {
			return fmt.Errorf("store flow %s: %w", p.Name, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = current
	for _, p := range programs {
		c.versions[p.Hash] = p
	}
	return nil
}

// Incoming is the flow for a call that we did not place; nil when there is none.
func (c *Catalog) Incoming() *flow.Program {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.incoming != "" {
		return c.current[c.incoming]
	}
	if len(c.current) == 1 {
		for _, p := range c.current {
			return p
		}
	}
	return nil
}

// Program is one version of a flow, from memory or the store. CodeNotFound when
// the store does not have it either.
func (c *Catalog) Program(ctx context.Context, hash string) (*flow.Program, error) {
	c.mu.RLock()
	p := c.versions[hash]
	c.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	source, err := c.store.Flow(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("load flow version %s: %w", hash, err)
	}
	p, err = flow.Compile("flow "+hash, source)
	if err != nil {
		return nil, fmt.Errorf("flow version %s was stored by a version of offhook that reads it otherwise: %w", hash, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions[hash] = p
	c.log.Info("flow version loaded", "flow", p.Name, "hash", hash)
	return p, nil
}

// Run keeps the current flows in the store from expiring, until ctx ends.
func (c *Catalog) Run(ctx context.Context) error {
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			c.refresh(ctx)
		}
	}
}

// refresh starts the retention of the current flows anew. It reads them rather than
// write them: another worker may have made a newer version current.
func (c *Catalog) refresh(ctx context.Context) {
	c.mu.RLock()
	programs := slices.Collect(maps.Values(c.current))
	c.mu.RUnlock()
	for _, p := range programs {
		_, err := c.store.Flow(ctx, p.Hash)
		switch {
		case err == nil || ctx.Err() != nil:
		case messages.CodeOf(err) == messages.CodeNotFound:
			c.log.ErrorContext(ctx, "the store has lost a flow that this worker runs; restart the worker to store it again", "flow", p.Name, "hash", p.Hash)
		default:
			c.log.WarnContext(ctx, "flow not refreshed; the next hour tries again", "flow", p.Name, "error", err)
		}
	}
}

// namesOf is a list for people.
func namesOf(programs map[string]*flow.Program) string {
	if len(programs) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(programs)), ", ")
}
