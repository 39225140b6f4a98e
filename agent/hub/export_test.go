package hub

import (
	"context"

	"github.com/cofferhq/coffer"
)

// A ForgedFile is what an author can say of a file, be it so or not.
type ForgedFile struct {
	ID    []byte
	Size  int64
	Parts []coffer.CommitRev
	Sum   []byte
}

// FileOf returns what the head of a file says, and its salt.
func FileOf(o *Object) (f ForgedFile, s [16]byte) {
	f = ForgedFile{ID: o.file.ID, Size: o.file.Size, Sum: o.file.Sum}
	for i := range o.file.count() {
		f.Parts = append(f.Parts, o.file.part(i))
	}
	return f, o.seal.salt
}

func (f ForgedFile) head() *fileHead {
	h := &fileHead{ID: f.ID, Size: f.Size, Sum: f.Sum}
	for _, id := range f.Parts {
		h.Parts = append(h.Parts, id[:]...)
	}
	return h
}

// Forge keeps an object as a file that was not made by PutFile.
func (f ForgedFile) Forge(ctx context.Context, h *Hub, k Kind, s [16]byte) (coffer.CommitRev, error) {
	return h.create(ctx, k, &inside{Value: []byte("1"), File: f.head()}, under(s), nil)
}

// ForgeOver makes an object that there is such a file.
func (f ForgedFile) ForgeOver(ctx context.Context, h *Hub, k Kind, id coffer.CommitRev) error {
	o, err := h.Object(ctx, k, id)
	if err != nil {
		return err
	}
	o.file = f.head()
	return h.replace(ctx, o, 1, &PutOptions{}, nil)
}
