"""train_step: one training step, worked through and as lines."""
# ruff: noqa: F811

import torch


# %% worked
def train_step(student, teacher, optimizer, images, labels, views, loss):
    """Take one training step with the four views. images [B, C, H, W], labels [B]. Returns the loss."""
    # 1. Modes: the teacher is finished, the student learns.
    teacher.eval()
    student.train()
    # 2. The four views, upright first.
    x = views(images)
    # 3. The teacher answers. Nothing of it is needed for a gradient.
    with torch.no_grad():
        teacher_output = teacher(x)
    # 4. The student answers: all views in one forward.
    student_output = student(x)
    # 5. Compare.
    value = loss(student_output, teacher_output, labels)
    # 6. Old gradients away, new gradients, then the step.
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()


# %% lines
def train_step(student, teacher, optimizer, images, labels, views, loss):
    x = views(images)
    teacher_output = teacher.eval()(x).detach()  # blank: eval()
    value = loss(student.train()(x), teacher_output, labels)  # blank: train()
    optimizer.zero_grad()  # blank: zero_grad()
    value.backward()
    optimizer.step()
    return value.item()
