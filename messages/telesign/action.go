package telesign

import "time"

// Method names an action.
type Method string

// The actions.
const (
	MethodDial         Method = "dial"
	MethodSpeak        Method = "speak"
	MethodPlay         Method = "play"
	MethodPlayMultiple Method = "play_multiple"
	MethodSendDTMF     Method = "send_dtmf"
	MethodHangup       Method = "hangup"
)

// Action is something TeleSign can be asked to do: Dial, Speak, Play,
// PlayMultiple, SendDTMF or Hangup. A nil Action asks for nothing.
type Action interface {
	Method() Method
	// Validate reports what TeleSign would refuse or might misread, as a
	// *messages.Error of CodeInvalid that names the parameter.
	Validate() error

	// appendParams writes the parameters of a valid action as the members of a JSON
	// object, without its braces.
	appendParams(dst []byte) []byte
}

// MaxCallDuration is the longest call TeleSign allows, and its default.
const MaxCallDuration = 14400 * time.Second

// Limits on what this package sends. TeleSign publishes none for them.
const (
	MaxExternalID    = 100 // bytes of ASCII; its SMS product's limit
	MaxCollectDigits = 100 // keys in one answer; ours, against slips
)

// Dial starts a call when posted, and bridges a third party into the call when it
// answers an event.
type Dial struct {
	To              string        // 1 to 15 digits, with country code
	CallerIDNumber  string        // a number bought from TeleSign, or the caller's when bridging
	MaxCallDuration time.Duration // whole seconds up to MaxCallDuration; 0 is not sent
	SendDTMF        string        // keys pressed once connected: 0-9 A-D * #, w waits half a second
	ExternalID      string        // echoed in every event of the call; at most MaxExternalID
	IsPrimary       *bool         // seen in one example of TeleSign's; meaning not documented; nil is not sent
}

// Speak says a text, and listens afterwards if CollectDigits is set.
type Speak struct {
	Message       string // plain text, or SSML as a whole inside <speak>; see ValidateSSML
	Language      string // a tag such as en-US; "" is not sent
	CollectDigits *CollectDigits
}

// Play plays an audio file, and listens if CollectDigits is set. TeleSign fetches
// URL; it has to be on the account's allow list.
type Play struct {
	URL           string // absolute, http or https
	CollectDigits *CollectDigits
}

// PlayMultiple plays audio files one after the other. The name of its parameter is
// not documented; "urls" is inferred.
type PlayMultiple struct {
	URLs          []string
	CollectDigits *CollectDigits
}

// SendDTMF presses keys. The name of its parameter is not documented; "digits" is
// inferred.
type SendDTMF struct {
	Digits string // 0-9 A-D * #, w waits half a second
}

// Hangup ends the call.
type Hangup struct{}

// CollectDigits asks for keys while and after a prompt. A zero timer is not sent:
// TeleSign's defaults, which are not documented, then hold.
type CollectDigits struct {
	Max               int           // keys to collect, 1 to MaxCollectDigits
	Timeout           time.Duration // for the first key; whole milliseconds
	InterDigitTimeout time.Duration // for each further key; whole milliseconds
	Terminators       string        // keys that end the entry; whether they are reported is not documented
}

// Method is MethodDial.
func (Dial) Method() Method { return MethodDial }

// Method is MethodSpeak.
func (Speak) Method() Method { return MethodSpeak }

// Method is MethodPlay.
func (Play) Method() Method { return MethodPlay }

// Method is MethodPlayMultiple.
func (PlayMultiple) Method() Method { return MethodPlayMultiple }

// Method is MethodSendDTMF.
func (SendDTMF) Method() Method { return MethodSendDTMF }

// Method is MethodHangup.
func (Hangup) Method() Method { return MethodHangup }
