package setting

import "time"

// Catalogue is every setting of the product. A command binds those it uses; the
// variables of all the others are known to it and ignored.
//
// A new setting is a field here and a line in NewCatalogue.
type Catalogue struct {
	// TeleSign.
	CustomerID   Setting[string]
	APIKey       Setting[Secrets]
	TeleSignURL  Setting[string]
	TeleSignAuth Setting[string]
	CallerID     Setting[string]
	DialTimeout  Setting[time.Duration]
	MaxCallTime  Setting[time.Duration]

	// The engines.
	NATSURL            Setting[string]
	NATSCredsFile      Setting[string]
	Replicas           Setting[int]
	EventsRetention    Setting[time.Duration]
	RecordsRetention   Setting[time.Duration]
	RedisURL           Setting[string]
	AllowVolatileRedis Setting[bool]
	CallRetention      Setting[time.Duration]

	// The doors.
	Listen           Setting[string]
	InternalListen   Setting[string]
	APIURL           Setting[string]
	InsecureWebhooks Setting[bool]
	AnswerWithin     Setting[time.Duration]
	HoldText         Setting[string]
	HoldLanguage     Setting[string]
	Hold             Setting[[]Hold]
	HoldFor          Setting[time.Duration]
	ApologyText      Setting[string]
	DuplicateGuard   Setting[time.Duration] // by the clock: dev divides it by Speed; beside simulate --speed 20, give workers a twentieth
	SpoolSize        Setting[int64]
	TLSCertFile      Setting[string]
	TLSKeyFile       Setting[string]

	// The flows.
	Flow       Setting[[]string]
	Incoming   Setting[string]
	MaxPrompts Setting[int]

	// The simulated TeleSign.
	SimulatorListen Setting[string]
	Speed           Setting[float64]
	Seed            Setting[int]
	WebhookURL      Setting[string]
	IncomingCalls   Setting[int]
	Rate            Setting[float64]
	IncomingTo      Setting[string]
	StrictAnswers   Setting[bool]
	Fault           Setting[[]string]

	// The process.
	Data      Setting[string]
	Slots     Setting[int]
	Drain     Setting[time.Duration]
	LameDuck  Setting[time.Duration]
	LogLevel  Setting[string]
	LogFormat Setting[string]

	all []entry // in the order of NewCatalogue
}

// NewCatalogue is the catalogue with the product's defaults.
func NewCatalogue() *Catalogue {
	c := &Catalogue{}

	c.CustomerID = c.string("customer-id", "", "id", "TeleSign's id of the account")
	c.APIKey = c.secrets("api-key", "the account's API keys, by comma or line; the first is used, all are accepted")
	c.TeleSignURL = c.url("telesign-url", "https://rest-ww.telesign.com", "TeleSign's REST API", "https", "http")
	c.TeleSignAuth = c.choice("telesign-auth", "basic", "how requests to TeleSign are authenticated", "basic", "digest")
	c.CallerID = c.string("caller-id", "", "number", "number that calls are placed from, digits with country code")
	c.DialTimeout = c.duration("dial-timeout", "10s", time.Millisecond, "how long TeleSign may take to answer a dial before its outcome is unknown")

	c.MaxCallTime = c.durationUpTo("max-call-duration", "15m", time.Second, 4*time.Hour, "how long a call that we place may last, 4h at most; TeleSign ends it then")

	c.NATSURL = c.urls("nats-url", "nats://127.0.0.1:4222", "NATS servers", "nats", "tls", "ws", "wss")
	c.NATSCredsFile = c.string("nats-creds-file", "", "file", "NATS credentials file (JWT and key)")
	c.Replicas = c.int("replicas", "1", "copies", 1, "copies of every stream; three survive the loss of a machine")
	c.EventsRetention = c.duration("events-retention", "168h", time.Second, "how long webhook events are kept")
	c.RecordsRetention = c.duration("records-retention", "9600h", time.Second, "how long call records are kept")
	c.RedisURL = c.url("redis-url", "redis://127.0.0.1:6379/0", "Redis or Valkey server", "redis", "rediss", "unix")
	c.AllowVolatileRedis = c.bool("allow-volatile-redis", "accept a Redis that loses its memory when it stops")
	c.CallRetention = c.duration("call-retention", "168h", time.Second, "how long the state of a call is kept after its last event")

	c.Listen = c.address("listen", "127.0.0.1:8080", "where TeleSign's webhooks arrive")
	c.InternalListen = c.address("internal-listen", "", "where health, metrics and the API are served; empty is nowhere")
	c.APIURL = c.url("api-url", "http://127.0.0.1:8081", "the API of a running offhook", "http", "https")
	c.InsecureWebhooks = c.bool("insecure-webhooks", "accept webhooks without a valid signature: anybody can then post events")
	c.AnswerWithin = c.duration("answer-within", "2.5s", time.Millisecond, "how long after its arrival a webhook is answered at the latest")
	c.HoldText = c.string("hold-text", "One moment, please.", "text", "what callers hear while no decision is there")
	c.HoldLanguage = c.string("hold-language", "en-US", "language", "language of the hold and apology texts")
	c.Hold = c.holds("hold", "hold and apology for numbers that begin with a prefix; repeat it, or one a line")
	c.HoldFor = c.duration("hold-for", "90s", time.Second, "how long holds may follow each other before apology and hangup")
	c.ApologyText = c.string("apology-text", "We are sorry, we cannot continue this call. Goodbye.", "text", "what callers hear before a call is given up")
	c.DuplicateGuard = c.durationUpTo("duplicate-guard", "250ms", 0, 10*time.Second, "how soon after its answer the same event again is a copy; dev divides it by --speed")
	c.SpoolSize = c.bytes("spool-size", "1GiB", 1<<20, "how much an ingress keeps on disk while NATS is away; beyond it events get 503")
	c.TLSCertFile = c.string("tls-cert-file", "", "file", "PEM certificate chain the webhook serves TLS with; it is read again when it changes")
	c.TLSKeyFile = c.string("tls-key-file", "", "file", "PEM private key of that certificate; it is read again when it changes")

	c.Flow = c.strings("flow", "", "file", "call flow; repeat it for several, or separate them by commas")
	c.Incoming = c.string("incoming", "", "flow", "name of the flow for calls we did not place; not needed with a single flow")
	c.MaxPrompts = c.int("max-prompts", "100", "prompts", 1, "prompts a call may hear before it is ended as too long")

	c.SimulatorListen = c.address("simulator-listen", "127.0.0.1:8090", "where the simulated TeleSign takes dials")
	c.Speed = c.float("speed", "1", "times", 0.01, "how much faster than life the simulated people are; the answer window is not")
	c.Seed = c.int("seed", "1", "number", 0, "where the simulated people's chance comes from; the same seed, the same people")
	c.WebhookURL = c.url("webhook-url", "http://127.0.0.1:8080/telesign/events", "where the simulated TeleSign posts its events", "http", "https")
	c.IncomingCalls = c.int("incoming-calls", "0", "calls", 0, "calls the simulated people make; 0 waits to be dialled")
	c.Rate = c.float("rate", "10", "calls/s", 0.001, "how many of those calls begin each second")
	c.IncomingTo = c.string("incoming-to", "15558675309", "number", "number of ours that the simulated people call")
	c.Fault = c.strings("fault", "", "fault", "what goes wrong, such as duplicate=5%; repeat it for several, or separate them by commas")
	c.StrictAnswers = c.bool("strict-answers", "refuse answers that TeleSign documents for no such event, though its own samples give them")

	c.Data = c.string("data", "offhook-data", "directory", "what the process keeps on disk; one process each")
	c.Slots = c.int("slots", "64", "events", 1, "events a worker handles at once")
	c.Drain = c.duration("drain", "15s", 0, "how long work under way may take to finish when the process is told to stop")
	c.LameDuck = c.duration("lame-duck", "3s", 0, "how long a stopping ingress takes events while /readyz says no")
	c.LogLevel = c.choice("log-level", "info", "least severe lines that are logged", "debug", "info", "warn", "error")
	c.LogFormat = c.choice("log-format", "text", "form of the log's lines", "text", "json")

	return c
}
