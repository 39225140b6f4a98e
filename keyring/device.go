package keyring

import (
	"bytes"
	"crypto/rand"
	"slices"
)

// Device returns the random id of this device, and its public key, of the same kind as a DeliveryKey, to which bundles
// for it are sealed; the zero id and nil if the Ring has no device. Both belong to the file that the Ring was loaded
// from and do not go into a bundle.
func (r *Ring) Device() (id [16]byte, public []byte) { return r.deviceID, bytes.Clone(r.devicePublic) }

// WithDevice returns the identity with a device, a new one if r has none. Both Rings are to be closed, and the new one
// replaces the file: until then its device is not anywhere else. It is Locked once the Ring is closed.
func (r *Ring) WithDevice() (*Ring, error) {
	s, err := r.copied("device")
	if err != nil {
		return nil, err
	}
	next := newRing(s, r.first, slices.Clone(r.hmacIDs), slices.Clone(r.former))
	next.setDevice(r.deviceID, s.device)
	return next, nil
}

// setDevice takes the secret over; without one the device is new.
func (r *Ring) setDevice(id [16]byte, secret []byte) {
	if secret == nil {
		secret = make([]byte, 32)
		rand.Read(secret)
		rand.Read(id[:])
	}
	r.deviceID, r.secrets.device = id, secret
	r.devicePublic = deliveryPrivate(secret).PublicKey().Bytes()
}
