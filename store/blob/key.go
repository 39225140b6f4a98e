package blob

import "strings"

// ValidKey reports whether the key, or prefix of keys, is of the form that [Store] asks for.
func ValidKey(key string) bool {
	segments := strings.Split(key, "/")
	if len(key) > 512 || len(segments) > 8 {
		return false
	}
	for _, s := range segments {
		if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}
