package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/messages"
)

// maxLiveCall is what one live call of the example survey may take in Redis, all
// its keys and their overhead together.
const maxLiveCall = 2048

func TestLiveCallIsSmall(t *testing.T) {
	t.Parallel()
	y := newSystem(t, shape{ingresses: 1, workers: 1, flows: []string{surveyFile}, sim: func(c *simulator.Config) {
		c.People = people(1000 * time.Hour) // never picks up: this test is TeleSign
	}})
	client := redis.NewClient(mustParse(t, y.redis.URL()))
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	placed, err := y.api.Place(within(t), messages.PlaceCall{To: number(0), Flow: "visit-survey", Contact: map[string]string{"first_name": "Bartholomew"}})
	if err != nil {
		t.Fatal(err)
	}
	y.dialled(1)
	intent := memory(t, client)

	const reference = "BC96D7B0D1800164898350B4E71B005C"
	url := y.ingresses[0].logged("webhook listening")
	largest := int64(0)
	for _, event := range []string{
		`"event":"dial_completed","data":{"to":"15558670000","from":"15555551212","status":"answered"`,
		`"event":"speak_completed","data":{"to":"15558670000","from":"15555551212","status":"speak_successful","collected_digits":"1"`,
		`"event":"play_completed","data":{"to":"15558670000","from":"15555551212","status":"play_successful","collected_digits":"3"`,
		`"event":"play_completed","data":{"to":"15558670000","from":"15555551212","status":"play_successful","collected_digits":"2"`,
		`"event":"speak_completed","data":{"to":"15558670000","from":"15555551212","status":"speak_successful","collected_digits":"1"`,
	} {
		body := fmt.Sprintf(`{"reference_id":%q,"external_id":%q,%s}}`, reference, placed.ID, event)
		if status, answer := post(t, url, body, ""); status != http.StatusOK || !strings.Contains(answer, "method") {
			t.Fatalf("%s\ngot %d %s", body, status, answer)
		}
		largest = max(largest, memory(t, client)-intent)
	}
	shown, err := y.api.Call(within(t), placed.ID)
	if err != nil {
		t.Fatal(err)
	}
	if shown.Status != messages.CallLive || len(shown.Record.Answers) != 3 {
		t.Fatalf("the call is %s with %d answers; want a live one with 3", shown.Status, len(shown.Record.Answers))
	}
	t.Logf("a live call takes up to %d B in Redis, its intent %d B, flows included", largest, intent)
	if largest > maxLiveCall {
		t.Errorf("a live call takes %d B in Redis, at most %d are allowed", largest, maxLiveCall)
	}
}

func mustParse(t *testing.T, url string) *redis.Options {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// memory is what all keys take, by Redis' own count.
func memory(t *testing.T, client *redis.Client) (total int64) {
	t.Helper()
	ctx := within(t)
	keys := client.Scan(ctx, 0, "*", 100).Iterator()
	for keys.Next(ctx) {
		n, err := client.MemoryUsage(ctx, keys.Val(), 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return total
}
