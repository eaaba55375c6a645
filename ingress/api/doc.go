// Package api is the door for people and other systems: place a call, look at one,
// list the flows. It listens on the internal listener and trusts whoever reaches
// it, so that listener belongs on a loopback or private address.
//
// It reads state, and changes it only by writing intents and jobs; it steps no
// call and consumes no message. Its answers are the read models of messages, its
// failures are messages.ErrorBody.
package api
