// Package api is the door for people and other systems: place a call, look at one,
// list the flows; and for orchestrators, whether the process is alive and ready. It
// listens on the internal listener and trusts whoever reaches it, so that listener
// belongs on a loopback or private address. Only web pages are kept out, which a
// browser lets reach such addresses.
//
// It reads state, and changes it only by writing intents and jobs; it steps no
// call and consumes no message. Its answers are the read models of messages, its
// failures are messages.ErrorBody. Whole phone numbers are in its answers and never
// in its log.
package api
