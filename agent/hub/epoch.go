package hub

type epochs struct{}
type deliveries struct{}
