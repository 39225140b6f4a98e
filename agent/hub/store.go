package hub

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/cofferhq/coffer"
)

// A Store is a space of keys and values that an owner shares with one other identity, and with nobody else. Both may
// read and write. The hub sees the keys, and how long the values are.
type Store struct {
	h    *Hub
	with string
}

// Store returns the Store of the hub's owner and another identity: "" for who opened the hub. The owner has it by
// himself, the other once he is let in by [Hub.GrantStore].
func (h *Hub) Store(with string) *Store {
	if with == "" {
		with = h.me
	}
	return &Store{h, with}
}

// GrantStore lets an identity into its Store, and returns the permission's id. maxBytes and maxKeys bound what the
// Store may hold; 0 is the hub's own limit. To extend them, grant again and revoke the former.
func (h *Hub) GrantStore(ctx context.Context, with string, maxBytes, maxKeys int64) (coffer.CommitRev, error) {
	return h.Grant(ctx, Permission{
		Grantee: with, Kind: Kind{Interface: coffer.StoresInterface, Context: with, Type: storeType}, Allow: "CRUD",
		MaxBytes: maxBytes, MaxKeys: maxKeys,
	})
}

func (s *Store) kind(key string) Kind {
	return Kind{Interface: coffer.StoresInterface, Context: s.with, Type: key}
}

// find returns the object that holds a key, nil if there is none.
func (s *Store) find(ctx context.Context, key string) (*Object, error) {
	for o, err := range s.h.Query(ctx, s.kind(key), nil) {
		return o, err
	}
	return nil, nil
}

// Put keeps a value under a key, in the place of what was there.
func (s *Store) Put(ctx context.Context, key string, value any) error {
	o, err := s.find(ctx, key)
	if err != nil {
		return err
	}
	if o != nil {
		return s.h.replace(ctx, o, value, &PutOptions{}, nil)
	}
	_, err = s.h.Put(ctx, s.kind(key), value, nil)
	return err
}

// Get reads the value under a key into v. NotExist if there is none.
func (s *Store) Get(ctx context.Context, key string, v any) error {
	o, err := s.find(ctx, key)
	if err != nil {
		return err
	}
	if o == nil {
		return coffer.Errorf("store", coffer.NotExist, "nothing is kept under the key")
	}
	return o.Into(v)
}

// Remove removes a key. NotExist if it is not there.
func (s *Store) Remove(ctx context.Context, key string) error {
	o, err := s.find(ctx, key)
	if err != nil {
		return err
	}
	if o == nil {
		return coffer.Errorf("store", coffer.NotExist, "nothing is kept under the key")
	}
	return s.h.remove(ctx, o.record)
}

// An Entry is a key of a Store with its value.
type Entry struct {
	Key   string
	Value json.RawMessage
}

// All yields what the Store holds, in the order in which the keys came there.
func (s *Store) All(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for o, err := range s.objects(ctx) {
			var e Entry
			if err == nil {
				e = Entry{o.Kind.Type, o.Value}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// objects yields all objects of the Store.
func (s *Store) objects(ctx context.Context) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		q := coffer.ObjectQuery{Interface: coffer.StoresInterface, NoDeleted: true}
		for r, err := range s.h.pages(ctx, &q, nil) {
			var o *Object
			if err == nil {
				if r.Created.Header.Context != s.with {
					continue
				}
				o, err = s.h.open(ctx, s.kind(r.Created.Header.Type), r)
			}
			if !yield(o, err) {
				return
			}
		}
	}
}
