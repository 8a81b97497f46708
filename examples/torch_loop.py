"""Handwritten digits by a training loop of plain torch.

python examples/torch_loop.py && trackio show --project torch-digits
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import autolog

torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images / 16, dtype=torch.float32)
X_train, X_test, y_train, y_test = train_test_split(images, torch.tensor(digits.target), random_state=0)

model = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
data = torch.utils.data.TensorDataset(X_train, y_train)

with (
    autolog.run(project="torch-digits"),
    autolog.torch.watch(model, optimizer, every=10, parameters=True, histograms=True) as watch,
):
    for epoch in range(20):
        for X, y in torch.utils.data.DataLoader(data, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(X), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # norms are recorded as they are before
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            accuracy = (model(X_test).argmax(1) == y_test).float().mean()
        watch.log({"train/loss": loss.item(), "val/accuracy": accuracy, "epoch": epoch + 1})
    with torch.no_grad():
        watch.evaluate(y_test, model(X_test), name="test")  # a confusion matrix, curves, best and worst

print(f"test accuracy {accuracy:.3f}")
print("Look at it:  trackio show --project torch-digits")

# What it shows: losses, accuracy and the learning rate's schedule, norms of gradients and parameters by layer
# with their histograms, the weights, and a confusion matrix with curves of the test images.
