// Package examples holds the example flows, and those that the program itself
// shows, as bytes. Nothing else lives here.
package examples

import _ "embed" // the files

// VisitSurveyName is the file name of VisitSurvey.
const VisitSurveyName = "visit-survey.yaml"

// VisitSurvey is the survey that the demo runs.
//
//go:embed visit-survey.yaml
var VisitSurvey []byte
