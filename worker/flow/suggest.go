package flow

import "strings"

// nearest is the candidate that word was probably meant to be, or empty when none
// is near. Case, and - for _, count as nothing; after that, letters that are
// missing, extra, wrong or swapped count one each, and one in three may be wrong.
func nearest(word string, candidates []string) string {
	folded := fold(word)
	best, limit := "", min(len([]rune(folded))/3, 3)+1
	for _, c := range candidates {
		if d := distance(folded, fold(c), limit); d < limit {
			best, limit = c, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), "-", "_")
}

// distance is the number of edits between two words (optimal string alignment), or
// limit when there are at least that many.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) >= limit || len(y)-len(x) >= limit {
		return limit
	}
	before, above, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return min(above[len(y)], limit)
}

// list is words as an enumeration, cut when there are many; none is said when
// there are no words.
func list(words []string, none string) string {
	const enough = 12
	switch {
	case len(words) == 0:
		return none
	case len(words) > enough:
		return strings.Join(words[:enough], ", ") + ", …"
	}
	return strings.Join(words, ", ")
}
