"""Answers to train_step, as a student may write them."""

from __future__ import annotations

import torch


def usual(student, teacher, optimizer, images, labels, views, loss):
    student.train()
    teacher.eval()
    x = views(images)
    with torch.no_grad():
        target = teacher(x)
    value = loss(student(x), target, labels)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()


def cleared_by_hand(net, guide, opt, x, y, make, criterion):
    net.train(True)
    guide.train(False)
    for parameter in net.parameters():
        parameter.grad = None
    batch = make(x)
    error = criterion(net(batch), guide(batch).detach(), y)
    error.backward()
    opt.step()
    opt.zero_grad()
    return float(error)


def detached_tensor(student, teacher, optimizer, images, labels, views, loss):
    batch = views(images)
    target = torch.no_grad()(teacher.eval())(batch)
    optimizer.zero_grad(set_to_none=False)
    value = loss(student.train()(batch), target, labels)
    value.backward()
    optimizer.step()
    return value.detach()


def modes_left(student, teacher, optimizer, images, labels, views, loss):
    student.train()
    x = views(images)
    with torch.no_grad():
        target = teacher(x)
    optimizer.zero_grad()
    value = loss(student(x), target, labels)
    value.backward()
    optimizer.step()
    return value.item()


def student_mode_left(student, teacher, optimizer, images, labels, views, loss):
    teacher.eval()
    x = views(images)
    optimizer.zero_grad()
    value = loss(student(x), teacher(x).detach(), labels)
    value.backward()
    optimizer.step()
    return value.item()


def not_cleared(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    x = views(images)
    value = loss(student(x), teacher(x).detach(), labels)
    value.backward()
    optimizer.step()
    return value.item()


def cleared_too_late(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    x = views(images)
    value = loss(student(x), teacher(x).detach(), labels)
    value.backward()
    optimizer.zero_grad()
    optimizer.step()
    return value.item()


def without_step(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    x = views(images)
    value = loss(student(x), teacher(x).detach(), labels)
    optimizer.zero_grad()
    value.backward()
    return value.item()


def step_too_early(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    optimizer.zero_grad()
    x = views(images)
    value = loss(student(x), teacher(x).detach(), labels)
    optimizer.step()
    value.backward()
    return value.item()


def old_gradients(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    x = views(images)
    value = loss(student(x), teacher(x).detach(), labels)
    optimizer.step()
    optimizer.zero_grad()
    return value.item()


def apart(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    upright, *rotated = views(images).chunk(4)
    rotated = torch.cat(rotated)
    output = torch.cat([student(upright), student(rotated)])
    with torch.no_grad():
        target = torch.cat([teacher(upright), teacher(rotated)])
    value = loss(output, target, labels)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.item()


def graph_of_the_teacher(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    x = views(images)
    optimizer.zero_grad()
    value = loss(student(x), teacher(x), labels)
    value.backward()
    optimizer.step()
    return value.item()


def upright(student, teacher, optimizer, images, labels, views, loss):
    return usual(student, teacher, optimizer, images, labels, lambda x: x, loss)


def graph_returned(student, teacher, optimizer, images, labels, views, loss):
    student.train(), teacher.eval()
    x = views(images)
    value = loss(student(x), teacher(x).detach(), labels)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value


WRONG = {
    "train_step": {
        "teacher in train mode": modes_left,
        "student in eval mode": student_mode_left,
        "old gradients kept": not_cleared,
        "no gradients at the step": cleared_too_late,
        "step forgotten": without_step,
        "step before backward": step_too_early,
        "only old gradients": old_gradients,
        "two forwards": apart,
        "teacher in the graph": graph_of_the_teacher,
        "upright views only": upright,
        "loss with its graph": graph_returned,
    }
}
RIGHT = {"train_step": (usual, cleared_by_hand, detached_tensor)}
